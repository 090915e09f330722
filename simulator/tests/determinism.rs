//! One seed is one history.

use simulator::{Plan, run};

#[test]
fn one_seed_is_one_history_and_another_seed_another() {
    let live = |seed| {
        let mut story = String::new();
        let plan = Plan { verbose: true, ..Plan::of_seed(seed) };
        let summary = run(&plan, &mut |line| {
            story.push_str(line);
            story.push('\n');
        });
        (summary.map_err(|violation| violation.to_string()), story)
    };
    for seed in [1, 2, 3] {
        let (first, again) = (live(seed), live(seed));
        assert!(first == again, "seed {seed} was {:?} and then {:?}", first.0, again.0);
        assert!(first.0.is_ok(), "{:?}", first.0);
    }
    assert_ne!(live(1).0, live(2).0);
}
