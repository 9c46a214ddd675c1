//! Messages from the worker to the coordinator.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use amore_shared_files::own_folder::Folder;
use amore_wire::task::FromWorker;

/// Writes messages, each as one complete line.
#[derive(Debug)]
pub struct Report {
    /// `None` once the receiver is gone.
    to: Mutex<Option<To>>,
}

#[derive(Debug)]
enum To {
    Output,
    File(File),
}

impl Report {
    pub fn to_output() -> Self {
        Report { to: Mutex::new(Some(To::Output)) }
    }

    /// Appends to a file.
    pub fn to_file(path: &Path) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let file = Folder::open(folder)?.append(name, 0o660)?;
        Ok(Report { to: Mutex::new(Some(To::File(file))) })
    }

    /// Sends a message. A lost coordinator is no reason to stop: fragments are on the file system.
    pub fn say(&self, message: &FromWorker) {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(mut line) = serde_json::to_vec(message) else { return };
        line.push(b'\n');
        let said = match &mut *to {
            None => return,
            Some(To::Output) => {
                let mut out = io::stdout().lock();
                out.write_all(&line).and_then(|()| out.flush())
            }
            // A single write, so that lines of two incarnations of a job do not mix.
            Some(To::File(file)) => file.write_all(&line),
        };
        if said.is_err() {
            *to = None;
        }
    }
}
