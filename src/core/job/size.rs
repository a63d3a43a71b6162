//! How many bytes the body of a job has, where that is counted. The core never sees the body.

/// A number of bytes, in three bytes, which a job has room for: exact below 8 MiB, above in steps of 128 bytes, rounded up. The
/// default is that of a body which is not counted: 0 bytes, and not the same as one that is empty.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Size([u8; 3]);

/// Says that the rest is a number of steps; none of them is an empty body.
const STEPS: u32 = 1 << 23;
const STEP: u64 = 128;

impl Size {
    /// Of so many bytes; of 1 GiB and more it is 1 GiB.
    pub fn of(bytes: u64) -> Size {
        let number = match u32::try_from(bytes) {
            Ok(bytes) if bytes > 0 && bytes < STEPS => bytes,
            _ => STEPS | bytes.div_ceil(STEP).min(u64::from(STEPS - 1)) as u32, // below 2^23
        };
        let [first, second, third, _] = number.to_le_bytes();
        Size([first, second, third])
    }

    /// Whether it is known.
    pub fn is_counted(self) -> bool {
        self != Size::default()
    }

    /// So many bytes.
    pub fn bytes(self) -> u64 {
        let Size([first, second, third]) = self;
        let number = u32::from_le_bytes([first, second, third, 0]);
        match number < STEPS {
            true => u64::from(number),
            false => u64::from(number - STEPS) * STEP,
        }
    }
}

impl std::fmt::Debug for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} B", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_exact_or_a_little_more(bytes in prop_oneof![0u64..1 << 24, 0u64..1 << 30]) {
            let counted = Size::of(bytes).bytes();
            let most = if bytes < 1 << 23 { bytes } else { (bytes + 127).min(((1 << 23) - 1) * 128) };
            prop_assert!(counted <= most && counted >= bytes.min(((1 << 23) - 1) * 128), "{bytes}: {counted}");
            prop_assert_eq!(Size::of(counted), Size::of(bytes));
            prop_assert!(Size::of(bytes).is_counted());
        }
    }
}
