//! HLS inside the program.
pub mod crypt;
pub mod playlist;
