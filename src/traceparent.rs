//! `traceparent`, the text in which programs tell each other their place in a trace (W3C Trace Context,
//! <https://www.w3.org/TR/trace-context/>): what is well-formed, and what it says. It knows no jobs.

/// What it is called, as a header and as a tag.
pub(crate) const NAME: &str = "traceparent";

/// A place in a trace: a span of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traceparent {
    /// The trace; never 0.
    pub(crate) trace: u128,
    /// The span; never 0.
    pub(crate) span: u64,
    /// Whether the trace is recorded.
    pub(crate) is_sampled: bool,
}

/// The longest text that is looked at: later versions may add to what is in this one.
const LEN_MAX: usize = 200;

impl Traceparent {
    /// Version, trace, span and flags, in hexadecimal digits without capitals. `None` if it is not well-formed, which a reader ignores,
    /// as the specification asks.
    pub(crate) fn read(text: &str) -> Option<Traceparent> {
        let is_hex = |part: &str, len| {
            part.len() == len && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        if text.len() > LEN_MAX || !text.is_ascii() {
            return None;
        }
        let mut parts = text.splitn(5, '-');
        let mut next = |len| parts.next().filter(|part| is_hex(part, len));
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        let has_more = parts.next().is_some();
        if version == "ff" || (version == "00" && has_more) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Traceparent { trace, span, is_sampled: flags & 1 == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn it_says_trace_span_and_whether_it_is_recorded() {
        let read = Traceparent::read(GOOD).unwrap();
        let (trace, span) = (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7);
        assert_eq!(read, Traceparent { trace, span, is_sampled: true });
        for (flags, is_sampled) in [("00", false), ("02", false), ("03", true), ("ff", true)] {
            let read = Traceparent::read(&format!("{}{flags}", &GOOD[..53])).unwrap();
            assert_eq!(read.is_sampled, is_sampled, "{flags}");
        }
    }

    #[test]
    fn later_versions_may_say_more_and_what_is_not_well_formed_is_none() {
        for good in
            [&GOOD.replacen("00", "cc", 1), "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more-x"]
        {
            assert!(Traceparent::read(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &GOOD.replacen("00", "ff", 1),
            &format!("{GOOD}-more"),
            &format!("01{}-{}", &GOOD[2..], "x".repeat(LEN_MAX)),
            &GOOD.replace("00f067aa0ba902b7", "0000000000000000"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace('4', "g"),
            &GOOD.replacen("-4", "-+", 1),
            &GOOD[1..],
            &GOOD.replacen("00-", "01-", 1).chars().chain("-é".chars()).collect::<String>(),
        ] {
            assert_eq!(Traceparent::read(bad), None, "{bad}");
        }
    }
}
