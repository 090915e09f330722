//! Scenarios: what a ledger does with commands (`rules`, `repeats`, `ending`, `recovering`, `random`), and what a leader makes of what it hears
//! (`leading`, `losses`, `joining`, `electing`, `comparing`, `choosing`, `spares`, `shortage`,
//! `attached`, `batches`, `queue`).

mod attached;
mod batches;
mod choosing;
mod comparing;
mod draining;
mod electing;
mod ending;
mod faults;
mod joining;
mod leading;
mod losses;
mod queue;
mod random;
mod recovering;
mod repeats;
mod rules;
mod scene;
mod shortage;
mod snapshots;
mod spares;
