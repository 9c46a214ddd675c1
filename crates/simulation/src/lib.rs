//! A simulated world for tests. It has its own time and one seeded generator, but no clock, thread, file or process.
//!
//! The same seed and the same calls give the same answers and the same events, in the same order. So far the world is
//! [`slurm`]: one or more Slurm clusters with their accounting. A world owns one [`slurm::SimulatedSlurm`], calls
//! [`slurm::SimulatedSlurm::command`] where a program would execute one of Slurm's commands, and plays the batch scripts
//! that [`slurm::SlurmEvent`] tells it to start and to end.

pub mod generator;
pub mod moment;
pub mod slurm;
pub mod world;

pub use generator::Generator;
pub use moment::Moment;
