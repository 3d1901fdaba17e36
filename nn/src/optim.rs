//! Optimisers and what steers them: gradients by name, clipping, Adam, learning-rate schedules, averaged weights.
//!
//! Modules, each using only those above it: [`clip`], [`gradients`], [`group`], [`adamw`], [`ema`],
//! [`schedule`], [`plateau`].

pub mod adamw;
pub mod clip;
mod elementwise;
pub mod ema;
pub mod gradients;
pub mod group;
pub mod plateau;
pub mod schedule;
pub mod zeroth_order;

pub use adamw::{AdamConfig, AdamW, StepReport};
pub use clip::Clip;
pub use ema::{Ema, EmaConfig};
pub use gradients::{GradientSource, Gradients, assert_every_variable_has_gradient};
pub use group::ParamGroup;
pub use plateau::{Plateau, PlateauAction, PlateauConfig};
pub use schedule::{Schedule, ScheduleConfig, ScheduleKind, ScheduleUnit};
