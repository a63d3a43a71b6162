//! Neighbours in time: what was captured shortly before.

use super::super::memory::{Link, Memory, strongest};
use super::{GoingOn, Missing};
use std::sync::Arc;

const MOST: usize = 3;

pub(super) fn find(
    memory: &Memory,
    earlier: &[Arc<Memory>],
    going_on: GoingOn<'_>,
) -> Result<Vec<Link>, Missing> {
    let mut links = Vec::new();
    for other in earlier {
        going_on()?;
        // What is a second away is half as near as what is at the same time.
        let away = memory.at_ms.abs_diff(other.at_ms);
        let weight = u32::try_from(1_000_000 / (1_000 + away)).unwrap_or(0);
        links.push(Link { to: other.number, weight });
    }
    Ok(strongest(links, MOST))
}

#[cfg(test)]
mod tests {
    use super::super::super::memory::Kind::Temporal;
    use super::super::tests::to;

    #[test]
    fn the_last_ones_are_nearest() {
        assert_eq!(to(Temporal, "x", &["a", "b", "c", "d"]), [3, 2, 1]);
        assert!(to(Temporal, "x", &[]).is_empty());
    }
}
