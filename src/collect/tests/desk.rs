//! Questions are answered by the loops that run, in time, whoever comes and goes; nothing waits for one that does
//! not answer.

use super::{reload::reloaded, *};
use crate::collect::{
    desk::{Answer, Answers, Question},
    state::explain::Known,
};

fn about(group: &str) -> Question {
    Question::new("i", group, None, None, None).unwrap()
}

fn region(name: &str) -> RegionId {
    RegionId::new(name).unwrap()
}

/// The lag of each group that was found, with its region.
fn found(answers: &Answers) -> Vec<(&str, Option<u64>)> {
    answers.found.iter().map(|found| (found.region.as_str(), found.lag_messages)).collect()
}

/// Asks, and how many seconds that took.
async fn timed(desk: &Desk, question: Question) -> (Option<Answers>, f64) {
    let begun = Instant::now();
    let answers = desk.ask(question).await;
    (answers, begun.elapsed().as_secs_f64())
}

#[tokio::test(start_paused = true)]
async fn a_loop_answers_between_two_of_its_steps() {
    let script = one_instance(2);
    let running = Running::fixed(&script);
    seconds(5).await;
    let calls = script.calls(|_| true);
    let (answers, took) = timed(&running.desk, about("g1")).await;
    let answers = answers.unwrap();
    assert_eq!((found(&answers), took), (vec![("cn-hangzhou", Some(7))], 0.0));
    assert_eq!(script.calls(|_| true), calls, "nothing is asked of the cloud");
    assert_eq!((answers.polled, answers.silent.len()), (vec!["cn-hangzhou".to_owned()], 0));

    let unknown = running.desk.ask(about("other")).await.unwrap().unknown;
    let known = Known { instances: 1, groups_of_instance: Some(2), topics_of_group: None };
    assert_eq!(unknown, [("cn-hangzhou".to_owned(), known)]);
    let elsewhere = Question::new("j", "g1", None, None, None).unwrap();
    let unknown = running.desk.ask(elsewhere).await.unwrap().unknown;
    assert_eq!(unknown[0].1, Known { instances: 1, ..Known::default() });
    let topic = Question::new("i", "g1", Some("other"), None, None).unwrap();
    let unknown = running.desk.ask(topic).await.unwrap().unknown;
    assert_eq!(unknown[0].1.topics_of_group, Some(1));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn only_the_region_and_account_that_are_named_are_asked() {
    let script = one_instance(1);
    let both = RegionSelection::List(vec![region("cn-hangzhou"), region("cn-beijing")]);
    let running = Running::start(&script, both, Filters::default());
    seconds(5).await;
    let ask = async |region, account| {
        let question = Question::new("i", "g0", None, region, account).unwrap();
        running.desk.ask(question).await.unwrap()
    };
    let all = ask(None, None).await;
    assert_eq!(found(&all), [("cn-beijing", Some(7)), ("cn-hangzhou", Some(7))]);
    assert_eq!(found(&ask(Some("cn-beijing"), None).await), [("cn-beijing", Some(7))]);
    for (region, account) in [(Some("cn-shanghai"), None), (None, Some("prod"))] {
        let answers = ask(region, account).await;
        assert!(answers.found.is_empty() && answers.unknown.is_empty() && answers.silent.is_empty());
        assert_eq!(answers.polled, ["cn-beijing", "cn-hangzhou"]);
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_is_named_after_two_seconds_and_holds_up_no_other() {
    let script = one_instance(1);
    let running = Running::fixed(&script);
    seconds(5).await;
    let _stuck = running.desk.seat(None, &region("cn-beijing"));
    let (answers, took) = timed(&running.desk, about("g0")).await;
    let answers = answers.unwrap();
    assert_eq!(found(&answers), [("cn-hangzhou", Some(7))]);
    assert_eq!(answers.silent, ["cn-beijing"]);
    assert_eq!(took, 2.0);
    // Who asks on does not fill its memory: it is given up at once when enough wait there.
    for _ in 1..8 {
        running.desk.ask(about("g0")).await;
    }
    let (answers, took) = timed(&running.desk, about("g0")).await;
    assert_eq!((answers.unwrap().silent.len(), took), (1, 0.0));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_is_answered_who_has_gone() {
    let desk = Desk::default();
    let mut mailbox = desk.seat(None, &region("cn-hangzhou"));
    assert!(tokio::time::timeout(Duration::from_secs(1), desk.ask(about("g0"))).await.is_err());
    mailbox.next().await.unwrap().answer(|_| panic!("work for nobody"));
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_ends_is_asked_no_more_and_one_that_is_asked_while_it_ends_is_silent() {
    let desk = Desk::default();
    let (first, second) = (desk.seat(None, &region("a")), desk.seat(None, &region("b")));
    let asking = tokio::spawn({
        let desk = desk.clone();
        async move { timed(&desk, about("g0")).await }
    });
    tokio::task::yield_now().await;
    drop(first);
    let _second = second;
    let (answers, took) = asking.await.unwrap();
    assert_eq!((answers.unwrap().silent, took), (vec!["a".to_owned(), "b".to_owned()], 2.0));
    let (answers, _) = timed(&desk, about("g0")).await;
    assert_eq!(answers.unwrap().polled, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn while_no_loop_runs_the_next_one_is_waited_for() {
    let desk = Desk::default();
    let (answers, took) = timed(&desk, about("g0")).await;
    assert!(answers.is_none() && took == 2.0, "{took}");
    tokio::spawn({
        let desk = desk.clone();
        async move {
            seconds(1).await;
            let mut mailbox = desk.seat(None, &region("cn-hangzhou"));
            while let Some(asked) = mailbox.next().await {
                asked.answer(|_| Answer::Unknown(Known::default()));
            }
        }
    });
    let (answers, took) = timed(&desk, about("g0")).await;
    assert_eq!((answers.unwrap().unknown.len(), took), (1, 1.0));
}

#[tokio::test(start_paused = true)]
async fn regions_that_are_found_answer_and_those_that_are_gone_do_not() {
    let script = one_instance(1);
    script.edit(|w| w.regions = vec![region("cn-hangzhou"), region("cn-beijing")]);
    let running = Running::start(&script, RegionSelection::Auto, Filters::default());
    seconds(5).await;
    assert_eq!(running.desk.ask(about("g0")).await.unwrap().found.len(), 2);
    script.edit(|w| w.regions = vec![region("cn-beijing")]);
    seconds(310).await;
    let answers = running.desk.ask(about("g0")).await.unwrap();
    assert_eq!((found(&answers), answers.polled.len()), (vec![("cn-beijing", Some(7))], 1));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_leaves_one_loop_to_answer_with_what_was_known() {
    let script = one_instance(1);
    let running = Running::fixed(&script);
    seconds(5).await;
    script.edit(|w| w.failing.insert(PollTarget::GroupProgress(id("i"), group("g0")), ErrorKind::Server));
    let running = reloaded(running, &script, |_| {}).await;
    let answers = running.desk.ask(about("g0")).await.unwrap();
    assert_eq!((found(&answers), answers.polled.len()), (vec![("cn-hangzhou", Some(7))], 1));
    running.stop().await;
}
