use super::{
    super::{bucket::TenantBucket, quota::Quota},
    *,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn told(limit: u32, remaining: u32, reset_in: u64) -> Pacing {
    Pacing {
        quota: Some(Quota {
            limit,
            remaining,
            reset_in: Some(Duration::from_secs(reset_in)),
        }),
        retry_after: None,
    }
}

fn retry_after(seconds: u64) -> Pacing {
    Pacing {
        quota: None,
        retry_after: Some(Duration::from_secs(seconds)),
    }
}

async fn call(pace: &Pace, class: Class, pacing: Pacing) {
    let permit = pace.take(class, PATIENCE).await.unwrap();
    pace.answered(&permit, pacing);
}

async fn refused_call(pace: &Pace, class: Class, pacing: Pacing) {
    let permit = pace.take(class, PATIENCE).await.unwrap();
    pace.refused(&permit, pacing);
}

#[test]
fn every_class_has_the_bucket_at_its_place() {
    assert_eq!(Class::ALL.map(|class| class as usize), [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn who_is_held_waits_until_the_hold_ends() {
    let pace = Pace::new(1.0);
    let start = Instant::now();
    refused_call(&pace, Class::WriteUsers, retry_after(9)).await;
    assert_eq!(pace.available(Class::WriteUsers), 0);
    pace.ready(Class::WriteUsers).await;
    assert!(start.elapsed() >= Duration::from_secs(9));
    assert_ne!(pace.available(Class::WriteUsers), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_wakes_who_waits() {
    let pace = Pace::new(1.0);
    let first = pace.take(Class::ReadUsers, PATIENCE).await.unwrap();
    let second = pace.take(Class::ReadUsers, PATIENCE).await.unwrap();
    pace.answered(&first, told(40, 0, 86_400));
    let start = Instant::now();
    tokio::join!(pace.ready(Class::ReadUsers), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        pace.answered(&second, told(40, 39, 1));
    });
    assert_eq!(start.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn many_workers_take_no_more_than_there_is() {
    let pace = Pace::new(0.8);
    call(&pace, Class::WriteUsers, told(20, 14, 3_600)).await;
    let takes = (0..50).map(|_| pace.take(Class::WriteUsers, Duration::ZERO));
    let taken = futures_util::future::join_all(takes).await;
    assert_eq!(taken.iter().filter(|permit| permit.is_ok()).count(), 10);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_wait_that_long_is_told_at_once_how_long_it_takes() {
    let pace = Pace::new(1.0);
    refused_call(&pace, Class::ChangePassword, retry_after(45)).await;
    let start = Instant::now();
    let wait = pace
        .take(Class::ChangePassword, PATIENCE)
        .await
        .unwrap_err();
    assert_eq!(
        (wait, start.elapsed()),
        (Duration::from_secs(45), Duration::ZERO)
    );
    assert!(pace.take(Class::ChangePassword, wait).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_pauses_the_classes_it_may_concern() {
    use Class::*;
    // What the 429 tells, and who is paused after reads of 40 and deletes of 20 are known.
    for (refusal, paused) in [
        (
            retry_after(60),
            vec![ReadUsers, WriteUsers, DeleteUsers, Other],
        ),
        (told(20, 0, 60), vec![WriteUsers, DeleteUsers, Other]),
        (told(7, 0, 60), vec![WriteUsers, Other]),
    ] {
        let pace = Pace::new(1.0);
        call(&pace, ReadUsers, told(40, 39, 1)).await;
        call(&pace, DeleteUsers, told(20, 19, 1)).await;
        refused_call(&pace, WriteUsers, refusal).await;
        let held = |pace: &Pace| -> Vec<Class> {
            let budget = pace.budget().into_iter();
            budget
                .filter(|budget| budget.held_for.is_some())
                .map(|budget| budget.class)
                .collect()
        };
        assert_eq!(held(&pace), paused, "{refusal:?}");
        tokio::time::advance(Pace::BRIEF).await;
        assert_eq!(held(&pace), [WriteUsers], "{refusal:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_reset_mail_pauses_nothing_else() {
    let pace = Pace::new(1.0);
    refused_call(&pace, Class::ChangePassword, retry_after(60)).await;
    assert!(
        Class::ALL[..4]
            .iter()
            .all(|&class| pace.available(class) > 0)
    );
}

#[tokio::test(start_paused = true)]
async fn equal_limits_of_reads_and_writes_mean_one_bucket() {
    let pace = Pace::new(1.0);
    call(&pace, Class::ReadUsers, told(50, 40, 3_600)).await;
    call(&pace, Class::WriteUsers, told(50, 10, 3_600)).await;
    assert_eq!(
        Class::ALL.map(|class| pace.available(class)),
        [10, 10, 10, 10, 1024]
    );
    let permit = pace.take(Class::DeleteUsers, PATIENCE).await.unwrap();
    assert_eq!(pace.available(Class::ReadUsers), 9);
    drop(permit);
    // Another plan, with buckets of their own.
    call(&pace, Class::ReadUsers, told(40, 30, 3_600)).await;
    assert_eq!(pace.available(Class::ReadUsers), 30);
    assert_eq!(pace.available(Class::WriteUsers), 10);
    assert_eq!(pace.available(Class::DeleteUsers), 1024);
}

#[tokio::test(start_paused = true)]
async fn the_budget_says_what_is_known() {
    let pace = Pace::new(0.8);
    call(&pace, Class::WriteUsers, told(20, 1, 10)).await;
    let [read, write, ..] = pace.budget()[..] else {
        panic!("a line for each class")
    };
    let nothing_known = ClassBudget {
        class: Class::ReadUsers,
        limit: None,
        remaining: None,
        per_second: None,
        reset_in: None,
        held_for: None,
    };
    assert_eq!(read, nothing_known);
    let known = ClassBudget {
        class: Class::WriteUsers,
        limit: Some(20),
        remaining: Some(1),
        // 19 come back in 9.5 s, of which four fifths are Roster's.
        per_second: Some(2.0 * 0.8),
        reset_in: Some(Duration::from_millis(9_500)),
        held_for: None,
    };
    assert_eq!(write, known);
}

#[tokio::test(start_paused = true)]
async fn sixteen_workers_stay_within_the_limit_once_it_is_known() {
    // Burst and calls a minute, what of them is used at least, and the 429s of the first moment, when nothing
    // is known.
    for (limit, per_minute, used, unavoidable) in [
        (40, 500, 0.95, 0),
        (20, 200, 0.95, 0),
        (50, 960, 0.95, 0),
        (2, 120, 0.6, 14),
    ] {
        let pace = Pace::new(0.8);
        let start = Instant::now();
        let tenant = Mutex::new(TenantBucket::new(limit, per_minute, start));
        let (calls, refusals) = (Mutex::new(0), Mutex::new(0));
        let worker = async |number: u64| {
            for turn in 0.. {
                if start.elapsed() > Duration::from_secs(600) {
                    return;
                }
                let Ok(permit) = pace.take(Class::WriteUsers, PATIENCE).await else {
                    continue;
                };
                // Some calls are faster than others, on both ways.
                let way = |salt| Duration::from_millis(20 + (number * 37 + turn * 61 + salt) % 150);
                tokio::time::sleep(way(0)).await;
                let told = tenant.lock().unwrap().call(Instant::now());
                tokio::time::sleep(way(83)).await;
                match told {
                    Ok(quota) => {
                        *calls.lock().unwrap() += 1;
                        let quota = Some(quota);
                        pace.answered(
                            &permit,
                            Pacing {
                                quota,
                                retry_after: None,
                            },
                        );
                    }
                    Err(pacing) => {
                        *refusals.lock().unwrap() += 1;
                        pace.refused(&permit, pacing);
                    }
                }
            }
        };
        futures_util::future::join_all((0..16).map(worker)).await;
        let (calls, refusals) = (calls.into_inner().unwrap(), refusals.into_inner().unwrap());
        assert!(
            refusals <= unavoidable,
            "limit {limit}: {refusals} refusals"
        );
        let granted = f64::from(per_minute) * 10.0;
        assert!(
            f64::from(calls) > used * granted,
            "limit {limit}: {calls} of {granted}"
        );
    }
}
