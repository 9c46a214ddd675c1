//! Two processes and one table.

use amore_run_table::{Acquired, RunTable, RunTableError};

use crate::support::*;

#[tokio::test]
async fn of_two_racing_for_the_table_one_gets_it() {
    let (dir, table, mine) = owned().await;
    table.release(mine).await.unwrap();
    let other = RunTable::open(dir.path()).await.unwrap();
    let (owner_2, owner_3) = (owner(2), owner(3));
    let (a, b) =
        tokio::join!(table.acquire(&owner_2, 100.0, TERM, None), other.acquire(&owner_3, 100.0, TERM, None));
    let won = [a.unwrap(), b.unwrap()].into_iter().filter(|got| matches!(got, Acquired::Mine(_))).count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_deposed_writer_writes_nothing() {
    let (dir, table, mine) = owned().await;
    table.store(&mine, &[update(1234, 1, vec![number("a", 1.0)])], 1.0).await.unwrap();
    // The term of `mine` passes while its process is stopped; another takes over.
    let other = RunTable::open(dir.path()).await.unwrap();
    assert!(
        matches!(other.acquire(&owner(2), 59.0, TERM, None).await.unwrap(), Acquired::HeldBy(c) if c.until == 60.0)
    );
    let theirs = acquire(&other, 2, 60.0).await;
    assert!(theirs.epoch > mine.epoch);

    let deposed = |result: Result<(), RunTableError>| match result.unwrap_err() {
        RunTableError::Deposed { by, epoch } => {
            assert_eq!((by.unwrap().pid, epoch), (2, theirs.epoch));
        }
        error => panic!("{error}"),
    };
    deposed(table.store(&mine, &[update(1234, 1, vec![number("a", 2.0)])], 61.0).await.map(drop));
    deposed(table.update_variables(&mine, &[]).await.map(drop));
    deposed(table.drop_variables(&mine, &[]).await.map(drop));
    deposed(table.renew(&mine, 61.0, TERM).await);
    deposed(table.release(mine.clone()).await);
    other.store(&theirs, &[update(1234, 1, vec![number("a", 3.0)])], 61.0).await.unwrap();
    assert_eq!(
        column(&mut stranger(table.path()).await, "SELECT quote(value) FROM run_variables").await,
        ["3.0"]
    );
    // Settings belong to the users.
    table.set_setting("slurm_partition", &"upex".into()).await.unwrap();
}

#[tokio::test]
async fn epochs_rise_also_after_a_release() {
    let (_dir, table, mine) = owned().await;
    table.renew(&mine, 100.0, TERM).await.unwrap();
    assert_eq!(table.owner().await.unwrap().claim.unwrap().until, 160.0);
    table.release(mine.clone()).await.unwrap();
    assert_eq!(table.owner().await.unwrap().claim, None);
    let again = acquire(&table, 1, 0.0).await;
    assert_eq!(again.epoch, mine.epoch + 1);
    assert!(matches!(
        table.renew(&mine, 0.0, TERM).await,
        Err(RunTableError::Deposed { by: Some(_), epoch }) if epoch == again.epoch
    ));
}

#[tokio::test]
async fn a_dead_owner_need_not_be_waited_for() {
    let (_dir, table, mine) = owned().await;
    let got = table.acquire(&owner(2), 1.0, TERM, Some(&mine.holder)).await.unwrap();
    assert!(matches!(got, Acquired::Mine(ref theirs) if theirs.epoch > mine.epoch));
    // A process that only knows that the first owner is dead may not take the table from the second.
    let got = table.acquire(&owner(3), 1.0, TERM, Some(&mine.holder)).await.unwrap();
    assert!(matches!(got, Acquired::HeldBy(ref claim) if claim.holder.pid == 2));
}

#[tokio::test]
async fn a_call_that_is_dropped_halfway_leaves_no_lock_and_no_half() {
    let (dir, table, mine) = owned().await;
    let batch: Vec<_> =
        (1..200).map(|run| update(1234, run, vec![number("a", 1.0), number("b", 1.0)])).collect();
    for microseconds in [0, 100, 300, 1000, 3000] {
        let store = table.store(&mine, &batch, 1.0);
        let _ = tokio::time::timeout(std::time::Duration::from_micros(microseconds), store).await;
        let other = RunTable::open_with(dir.path(), patient(2000)).await.unwrap();
        let count = other.runs().await.unwrap().len();
        assert!(count == 0 || count == batch.len(), "{count}");
        other.set_setting("slurm_time", &"1".into()).await.unwrap();
    }
    table.store(&mine, &batch, 1.0).await.unwrap();
    assert_eq!(table.runs().await.unwrap().len(), batch.len());
}
