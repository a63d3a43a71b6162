//! Numbers as a line of bars in a terminal. It knows nothing of what they mean, and prints nothing.

use crate::protocol::admin::Steps;

/// A bar of each height.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Nothing, and nothing known.
const ZERO: char = '·';
const UNKNOWN: char = ' ';

/// As many steps as make a bar, added up; `None` where nothing is known of any.
pub(in crate::cli) fn summed(steps: &Steps, per_bar: usize) -> Vec<Option<f64>> {
    joined(steps, per_bar, |one, other| one + other)
}

/// The highest of as many steps as make a bar.
pub(super) fn highest(steps: &Steps, per_bar: usize) -> Vec<Option<f64>> {
    joined(steps, per_bar, f64::max)
}

fn joined(steps: &Steps, per_bar: usize, join: fn(f64, f64) -> f64) -> Vec<Option<f64>> {
    let bar = |steps: &[Option<u32>]| steps.iter().flatten().map(|step| f64::from(*step)).reduce(join);
    // The last bar is whole: it is the one that people look at.
    let first = steps.len() % per_bar.max(1);
    let (begin, rest) = steps.split_at(first);
    let begin = (!begin.is_empty()).then(|| bar(begin));
    begin.into_iter().chain(rest.chunks(per_bar.max(1)).map(bar)).collect()
}

/// A bar for each number, the highest as high as a line is.
pub(in crate::cli) fn bars(numbers: &[Option<f64>]) -> String {
    let most = numbers.iter().flatten().copied().fold(0.0, f64::max);
    let bar = |number: &Option<f64>| match number {
        None => UNKNOWN,
        Some(number) if *number <= 0.0 || most <= 0.0 => ZERO,
        Some(number) => {
            let height = (number / most * BARS.len() as f64).ceil() as usize;
            BARS[height.clamp(1, BARS.len()) - 1]
        }
    };
    numbers.iter().map(bar).collect()
}

/// When the first bar begins and the last one ends, at its place below them.
pub(super) fn axis(from: &str, until: &str, width: usize) -> String {
    match width.checked_sub(from.len() + until.len() + 1) {
        Some(_) => format!("{from}{until:>rest$}", rest = width - from.len()),
        None => format!("{from} to {until}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_the_numbers() {
        let numbers = [Some(0.0), Some(1.0), None, Some(50.0), Some(100.0)];
        assert_eq!(bars(&numbers), "·▁ ▄█");
        assert_eq!(bars(&[Some(0.0), None]), "· ");
        assert_eq!(bars(&[]), "");
    }

    #[test]
    fn several_steps_are_one_bar_and_the_last_is_whole() {
        let steps = vec![Some(9), Some(1), Some(2), None, Some(4), None, None];
        assert_eq!(summed(&steps, 2), [Some(9.0), Some(3.0), Some(4.0), None]);
        assert_eq!(highest(&steps, 3), [Some(9.0), Some(2.0), Some(4.0)]);
        assert_eq!(summed(&steps, 1).len(), 7);
    }

    #[test]
    fn times_stand_below_the_first_and_the_last_bar() {
        assert_eq!(axis("10:00", "11:00", 16), "10:00      11:00");
        assert_eq!(axis("10:00", "11:00", 8), "10:00 to 11:00");
    }
}
