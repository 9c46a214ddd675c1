//! Directories in which several accounts work: the members of a proposal, and the account of a service.
//!
//! [`umask`] says who may use what a process makes there; [`acl`] reads and writes the lists of files; [`rights`] says what a user
//! may do with a file; [`own_folder`] opens a folder, and files in it, without being led elsewhere.

pub mod acl;
pub mod own_folder;
pub mod rights;
pub mod umask;
