//! How often Slurm's commands are run, and how long they take: for whoever measures it.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A command that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Its name: `squeue`.
    pub program: &'a str,
    /// Whether it succeeded. If not: it could not be executed, gave no answer, or ended with an error.
    pub succeeded: bool,
    /// How long it took.
    pub took: Duration,
}

type Observe = Box<dyn Fn(Call<'_>) + Send + Sync>;

/// Who is told of calls.
#[derive(Default)]
pub(crate) struct Observer(Mutex<Option<Observe>>);

impl Observer {
    pub(crate) fn set(&self, observe: impl Fn(Call<'_>) + Send + Sync + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(observe));
    }

    pub(crate) fn tell(&self, call: Call<'_>) {
        if let Some(observe) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            observe(call);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
