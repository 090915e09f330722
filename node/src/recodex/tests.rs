//! The stage's side of ReCodEx's ports: what becomes of what was said, without sockets.

mod asking;
mod scene;
mod telling;
mod working;
