//! Numbers of nodes, tasks and the like, and tables that have an entry for each of them.

use std::{
    marker::PhantomData,
    ops::{Index, IndexMut},
};

/// The number of something, counted from 0.
pub(crate) trait Number: Copy {
    fn from_index(index: usize) -> Self;
    fn index(self) -> usize;
}

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(pub u32);

            impl Number for $name {
                fn from_index(index: usize) -> Self {
                    $name(index as u32)
                }

                fn index(self) -> usize {
                    self.0 as usize
                }
            }
        )*
    };
}
pub(crate) use numbers;

numbers! {
    /// A node of the graph: a variable, by its index in the file. While a run is planned, the commands of variables are nodes
    /// too, numbered after the variables.
    NodeNo
}

impl NodeNo {
    /// The index of the variable in [`crate::Dag::variables`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An entry for each number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table<N, T> {
    entries: Vec<T>,
    number: PhantomData<N>,
}

impl<N: Number, T> Table<N, T> {
    /// For so many numbers, the same entry for each.
    pub(crate) fn new(count: usize, entry: T) -> Self
    where
        T: Clone,
    {
        Table::from(vec![entry; count])
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds an entry. Returns its number.
    pub(crate) fn push(&mut self, entry: T) -> N {
        self.entries.push(entry);
        N::from_index(self.entries.len() - 1)
    }

    pub(crate) fn numbers(&self) -> impl DoubleEndedIterator<Item = N> + use<N, T> {
        (0..self.entries.len()).map(N::from_index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (N, &T)> {
        self.entries.iter().enumerate().map(|(index, entry)| (N::from_index(index), entry))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (N, &mut T)> {
        self.entries.iter_mut().enumerate().map(|(index, entry)| (N::from_index(index), entry))
    }

    /// The entries, by index.
    pub(crate) fn into_entries(self) -> Vec<T> {
        self.entries
    }
}

impl<N, T> From<Vec<T>> for Table<N, T> {
    fn from(entries: Vec<T>) -> Self {
        Table { entries, number: PhantomData }
    }
}

impl<N, T> Default for Table<N, T> {
    fn default() -> Self {
        Table::from(Vec::new())
    }
}

impl<N: Number, T> Index<N> for Table<N, T> {
    type Output = T;

    fn index(&self, number: N) -> &T {
        &self.entries[number.index()]
    }
}

impl<N: Number, T> IndexMut<N> for Table<N, T> {
    fn index_mut(&mut self, number: N) -> &mut T {
        &mut self.entries[number.index()]
    }
}
