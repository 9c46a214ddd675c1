//! Reads values of run files for others, in a process of its own.
//!
//! The HDF5 library has one lock for a whole process, and its files are written by users. A service that read them itself would
//! stand still if one file system hangs, and would have to trust the files. So it starts this program again, which reads one
//! value ([`reader`]), and which can be killed ([`ask`]).

pub mod ask;
pub mod question;
pub mod reader;
