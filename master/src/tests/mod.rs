//! Scenarios: what a ledger does with commands (`rules`, `repeats`, `ending`, `random`), and what a leader makes of what it hears
//! (`leading`, `losses`, `joining`, `choosing`, `spares`, `attached`).

mod attached;
mod choosing;
mod ending;
mod faults;
mod joining;
mod leading;
mod losses;
mod random;
mod repeats;
mod rules;
mod scene;
mod spares;
