//! Tapes: the continuous recording of one hall.

pub mod events;
