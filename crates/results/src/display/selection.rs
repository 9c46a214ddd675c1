//! Which part of an array is read: `0:100,::10,5`, as numpy's basic slices with positive steps.

use std::{fmt, str::FromStr};

/// A part of an array, as a user writes it. Axes that are not mentioned are taken whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection(Vec<Axis>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    /// One index, which removes the axis. Negative: from the end.
    At(i64),
    /// `start:stop:step`.
    Range { start: Option<i64>, stop: Option<i64>, step: u64 },
}

/// A selection that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// It cannot be parsed.
    #[error("{text:?} does not select a part of an array: {why}")]
    Syntax {
        /// The part of the text.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// It has more axes than the array.
    #[error("the selection has {given} axes, but the array has shape {shape:?}")]
    TooManyAxes {
        /// Those of the selection.
        given: usize,
        /// The array's.
        shape: Vec<u64>,
    },
    /// An index is not in the array.
    #[error("index {index} is not in axis {axis}, which has length {length}")]
    OutOfRange {
        /// As given.
        index: i64,
        /// Which axis, from 0.
        axis: usize,
        /// Its length.
        length: u64,
    },
}

/// A selection of an array with a known shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selected {
    pub start: Vec<u64>,
    pub step: Vec<u64>,
    pub count: Vec<u64>,
    /// Axes that remain.
    pub kept: Vec<bool>,
}

impl FromStr for Selection {
    type Err = SelectionError;

    fn from_str(text: &str) -> Result<Self, SelectionError> {
        if text.trim().is_empty() {
            return Ok(Selection::default());
        }
        text.split(',').map(axis).collect::<Result<_, _>>().map(Selection)
    }
}

fn axis(text: &str) -> Result<Axis, SelectionError> {
    let wrong = |why| SelectionError::Syntax { text: text.to_owned(), why };
    let number = |part: &str| match part.trim() {
        "" => Ok(None),
        digits => digits.parse::<i64>().map(Some).map_err(|_| wrong("it is not a whole number")),
    };
    let parts: Vec<&str> = text.split(':').collect();
    match parts.as_slice() {
        [one] => number(one)?.map(Axis::At).ok_or_else(|| wrong("it is empty; a colon selects a whole axis")),
        [start, stop, rest @ ..] if rest.len() <= 1 => {
            let step = rest.first().map_or(Ok(None), |step| number(step))?.unwrap_or(1);
            let step = u64::try_from(step).ok().filter(|step| *step > 0);
            Ok(Axis::Range {
                start: number(start)?,
                stop: number(stop)?,
                step: step.ok_or_else(|| wrong("the step must be positive"))?,
            })
        }
        _ => Err(wrong("it has more than two colons")),
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = |bound: &Option<i64>| bound.map(|bound| bound.to_string()).unwrap_or_default();
        for (at, axis) in self.0.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            match axis {
                Axis::At(index) => write!(f, "{index}")?,
                Axis::Range { start, stop, step: 1 } => write!(f, "{}:{}", bound(start), bound(stop))?,
                Axis::Range { start, stop, step } => write!(f, "{}:{}:{step}", bound(start), bound(stop))?,
            }
        }
        Ok(())
    }
}

impl Selection {
    /// Applies it to an array of this shape. As in numpy, ranges beyond the end are cut, indices must exist.
    pub(crate) fn of(&self, shape: &[u64]) -> Result<Selected, SelectionError> {
        if self.0.len() > shape.len() {
            return Err(SelectionError::TooManyAxes { given: self.0.len(), shape: shape.to_vec() });
        }
        let whole = Axis::Range { start: None, stop: None, step: 1 };
        let mut selected = Selected { start: vec![], step: vec![], count: vec![], kept: vec![] };
        for (axis, &length) in shape.iter().enumerate() {
            let (start, step, count, kept) = match *self.0.get(axis).unwrap_or(&whole) {
                Axis::At(index) => {
                    let at = from_start(index, length).filter(|at| *at < length);
                    let at = at.ok_or(SelectionError::OutOfRange { index, axis, length })?;
                    (at, 1, 1, false)
                }
                Axis::Range { start, stop, step } => {
                    let bound = |given: Option<i64>, default| {
                        given.map_or(default, |given| from_start(given, length).unwrap_or(0).min(length))
                    };
                    let (start, stop) = (bound(start, 0), bound(stop, length));
                    (start.min(length), step, stop.saturating_sub(start).div_ceil(step), true)
                }
            };
            selected.start.push(start);
            selected.step.push(step);
            selected.count.push(count);
            selected.kept.push(kept);
        }
        Ok(selected)
    }
}

/// The index from the start; none if it is before it.
fn from_start(index: i64, length: u64) -> Option<u64> {
    if index < 0 { length.checked_sub(index.unsigned_abs()) } else { Some(index.unsigned_abs()) }
}

impl Selected {
    /// The shape of what is read, without axes with one index.
    pub fn shape(&self) -> Vec<u64> {
        let kept = self.count.iter().zip(&self.kept);
        kept.filter_map(|(count, kept)| kept.then_some(*count)).collect()
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.count.iter().product()
    }

    /// Divides it into parts of at most `most` elements (at least one row of the last axis), in C order.
    pub fn parts(&self, most: u64) -> Vec<Selected> {
        if self.elements() == 0 {
            return Vec::new();
        }
        // The first axis that can be divided so that everything below fits.
        let below = |axis: usize| self.count[axis + 1..].iter().product::<u64>();
        let Some(axis) = (0..self.count.len()).find(|&axis| below(axis) <= most) else {
            return vec![self.clone()];
        };
        let rows = (most / below(axis)).max(1);
        let mut parts = Vec::new();
        let mut outer = vec![0u64; axis];
        loop {
            let mut from = 0;
            while from < self.count[axis] {
                let count = rows.min(self.count[axis] - from);
                let mut part = self.clone();
                for (at, &index) in outer.iter().enumerate() {
                    part.start[at] += index * self.step[at];
                    part.count[at] = 1;
                }
                part.start[axis] += from * self.step[axis];
                part.count[axis] = count;
                parts.push(part);
                from += count;
            }
            // The next index of the outer axes.
            let Some(at) = (0..axis).rev().find(|&at| outer[at] + 1 < self.count[at]) else { return parts };
            outer[at] += 1;
            outer[at + 1..].fill(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selected(text: &str, shape: &[u64]) -> Selected {
        text.parse::<Selection>().unwrap().of(shape).unwrap()
    }

    #[test]
    fn slices_mean_what_they_mean_in_numpy() {
        let all = selected("", &[3, 4]);
        assert_eq!((all.start.clone(), all.count.clone(), all.shape()), (vec![0, 0], vec![3, 4], vec![3, 4]));
        let some = selected("1:100:2, -1", &[6, 4, 2]);
        assert_eq!((some.start.clone(), some.step.clone()), (vec![1, 3, 0], vec![2, 1, 1]));
        assert_eq!((some.count.clone(), some.shape()), (vec![3, 1, 2], vec![3, 2]));
        assert_eq!(selected("-2:", &[5]).start, [3]);
        assert_eq!(selected(":-2", &[5]).count, [3]);
        assert_eq!(selected("-9:2", &[5]).count, [2]);
        assert_eq!(selected("4:2", &[5]).count, [0]);
        assert_eq!(selected("9:", &[5]).count, [0]);
        assert_eq!(selected("::10,:", &[25, 0]).shape(), [3, 0]);
    }

    #[test]
    fn what_cannot_be_selected_is_said() {
        for bad in ["a", "1:2:3:4", "::0", "::-1", "1,,2", "1.5", "9223372036854775808"] {
            assert!(matches!(bad.parse::<Selection>(), Err(SelectionError::Syntax { .. })), "{bad}");
        }
        let of = |text: &str, shape: &[u64]| text.parse::<Selection>().unwrap().of(shape).unwrap_err();
        assert_eq!(of("5", &[5]), SelectionError::OutOfRange { index: 5, axis: 0, length: 5 });
        assert_eq!(of("-6", &[5]), SelectionError::OutOfRange { index: -6, axis: 0, length: 5 });
        assert!(matches!(of(":,:", &[5]), SelectionError::TooManyAxes { .. }));
    }

    #[test]
    fn its_text_can_be_parsed_again() {
        for text in ["", "1", "-1", ":", "1:2", "::3", "1:-2:3,5,:7"] {
            assert_eq!(text.parse::<Selection>().unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole_in_c_order(
            shape in prop::collection::vec(0u64..5, 0..4), step in 1u64..3, most in 1u64..20
        ) {
            let text = vec![format!("::{step}"); shape.len()].join(",");
            let whole = selected(&text, &shape);
            let indices = |selected: &Selected| {
                let mut all = vec![vec![]];
                for axis in 0..shape.len() {
                    all = all.into_iter().flat_map(|before: Vec<u64>| {
                        (0..selected.count[axis]).map(move |at| {
                            let mut index = before.clone();
                            index.push(selected.start[axis] + at * selected.step[axis]);
                            index
                        })
                    }).collect();
                }
                all
            };
            let parts = whole.parts(most);
            let row = shape.last().map_or(1, |last| last.div_ceil(step));
            prop_assert!(parts.iter().all(|part| part.elements() <= most.max(row)));
            let joined: Vec<Vec<u64>> = parts.iter().flat_map(indices).collect();
            prop_assert_eq!(joined, indices(&whole));
        }
    }
}
