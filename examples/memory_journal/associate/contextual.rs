//! Context: what stands near in the same book, and what uses the same words where few do.

use super::super::memory::{Link, Memory, strongest};
use super::terms::{shared, terms};
use super::{GoingOn, Missing};
use std::sync::Arc;

const MOST: usize = 4;

pub(super) fn find(
    memory: &Memory,
    earlier: &[Arc<Memory>],
    going_on: GoingOn<'_>,
) -> Result<Vec<Link>, Missing> {
    going_on()?;
    let own = terms(&memory.text);
    let mut links = Vec::new();
    for other in earlier {
        going_on()?;
        let near = match memory.source == other.source {
            true => 500 / memory.place.abs_diff(other.place).max(1),
            false => 0,
        };
        links.push(Link { to: other.number, weight: near + 50 * shared(&own, &terms(&other.text)) });
    }
    Ok(strongest(links, MOST))
}

#[cfg(test)]
mod tests {
    use super::super::super::memory::Kind::Contextual;
    use super::super::tests::to;

    #[test]
    fn the_same_page_is_nearer_than_the_same_words() {
        let earlier = ["one", "white gloves and a fan", "two", "white gloves"];
        assert_eq!(to(Contextual, "the fan and the white gloves", &earlier), [2, 1, 0, 3]);
    }
}
