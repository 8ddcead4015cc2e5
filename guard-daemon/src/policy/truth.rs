//! Three-valued logic: what a statement says of a request that guard does not know whole.

/// Whether something holds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Truth {
    /// It does not.
    False,
    /// What would tell is not known. A deny or approve statement matches then, an allow does not.
    Unknown,
    /// It does.
    True,
}

impl Truth {
    /// All of them hold.
    pub(super) fn all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::True;
        for part in parts {
            match part {
                Self::False => return Self::False,
                Self::Unknown => all = Self::Unknown,
                Self::True => {}
            }
        }
        all
    }

    /// At least one of them holds.
    pub(super) fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut any = Self::False;
        for part in parts {
            match part {
                Self::True => return Self::True,
                Self::Unknown => any = Self::Unknown,
                Self::False => {}
            }
        }
        any
    }
}

impl std::ops::Not for Truth {
    type Output = Self;

    fn not(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
            Self::True => Self::False,
        }
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Truth::{self, False, True, Unknown};

    /// What it could turn out to be.
    fn cases(truth: Truth) -> &'static [bool] {
        match truth {
            False => &[false],
            True => &[true],
            Unknown => &[false, true],
        }
    }

    proptest! {
        #[test]
        fn is_unknown_exactly_where_the_unknown_parts_could_tip_it(
            parts in prop::collection::vec(prop::sample::select(vec![False, Unknown, True]), 0..5),
        ) {
            let mut outcomes: Vec<Vec<bool>> = vec![vec![]];
            for &part in &parts {
                outcomes = outcomes
                    .iter()
                    .flat_map(|so_far| cases(part).iter().map(move |&case| [so_far.as_slice(), &[case]].concat()))
                    .collect();
            }
            let expected = |fold: fn(&Vec<bool>) -> bool| {
                let all = outcomes.iter().map(fold).collect::<Vec<bool>>();
                match (all.contains(&true), all.contains(&false)) {
                    (true, true) => Unknown,
                    (true, false) => True,
                    _ => False,
                }
            };
            prop_assert_eq!(Truth::all(parts.clone()), expected(|case| case.iter().all(|&x| x)));
            prop_assert_eq!(Truth::any(parts.clone()), expected(|case| case.iter().any(|&x| x)));
            prop_assert_eq!(!Truth::any(parts.clone()), Truth::all(parts.iter().map(|&part| !part)));
        }
    }
}
