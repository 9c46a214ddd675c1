//! Tests on recorded output of three versions of Slurm (`slurm-tests/recorded/`).

use proptest::prelude::*;

use super::*;
use crate::{
    partition_facts::{parse_nodes, parse_partitions},
    slurm_user::{ASSOCIATIONS, UserLimits, parse_associations, parse_parents},
};

macro_rules! recorded {
    ($name:literal) => {
        [
            include_str!(concat!("../../../../slurm-tests/recorded/22.05-compose/", $name)),
            include_str!(concat!("../../../../slurm-tests/recorded/24.11-compose/", $name)),
            include_str!(concat!("../../../../slurm-tests/recorded/26.05-compose/", $name)),
        ]
    };
}

const PARTITIONS: [&str; 3] = recorded!("scontrol-show-partition.txt");
const RECORDED_ASSOCIATIONS: [&str; 3] = recorded!("sacctmgr-show-assoc.txt");
const NODES: [&str; 3] = recorded!("sinfo.txt");

fn user(name: &str, group: &str, account: &str, version: usize) -> SlurmUser {
    SlurmUser {
        name: name.to_owned(),
        root: false,
        groups: [name.to_owned(), group.to_owned()].into(),
        associations: Some(parse_associations(RECORDED_ASSOCIATIONS[version], "lab", name)),
        default_account: Some(account.to_owned()),
        parents: [("physics".to_owned(), "root".to_owned())].into(),
    }
}

fn wanted(minutes: u32) -> JobNeeds {
    JobNeeds { minutes, ..JobNeeds::default() }
}

fn choice(version: usize, user: &SlurmUser, wanted: &JobNeeds) -> PartitionChoice {
    choose(&parse_partitions(PARTITIONS[version]), &parse_nodes(NODES[version]), user, wanted)
}

fn verdict(choice: &PartitionChoice, name: &str) -> String {
    choice.considered.iter().find(|(other, _)| other == name).map(|(_, verdict)| verdict.to_string()).unwrap()
}

#[test]
fn partitions_of_three_versions_are_read() {
    for text in PARTITIONS {
        let found = parse_partitions(text);
        let names: Vec<_> = found.iter().map(|partition| partition.name.as_str()).collect();
        assert_eq!(names, ["main", "grponly", "acctonly", "short", "high", "low", "down"]);
        assert!(found[0].default && !found[1].default);
        assert_eq!((found[0].max_minutes, found[0].max_nodes, found[0].nodes), (Some(1440), None, Some(3)));
        assert_eq!(found[3].max_minutes, Some(1));
        assert_eq!(found[1].groups, AllowList::These(vec!["lab_a".to_owned()]));
        assert_eq!(found[2].accounts, AllowList::These(vec!["physics".to_owned()]));
        assert_eq!(found[6].closed.as_deref(), Some("DOWN"));
    }
}

#[test]
fn the_default_partition_goes_first() {
    for version in 0..3 {
        let choice = choice(version, &user("alice", "lab_a", "physics", version), &wanted(120));
        assert_eq!(choice.chosen.as_ref().map(|chosen| chosen.name.as_str()), Some("main"));
        assert_eq!(choice.instead_of_default(), None);
        assert_eq!(verdict(&choice, "grponly"), "usable, 0 idle nodes");
        assert_eq!(verdict(&choice, "short"), "its time limit is 0:01:00");
        assert_eq!(verdict(&choice, "down"), "it is DOWN");
    }
}

#[test]
fn groups_and_accounts_shut_out() {
    for version in 0..3 {
        let bob = choice(version, &user("bob", "lab_b", "chemistry", version), &wanted(120));
        assert_eq!(verdict(&bob, "grponly"), "it is restricted to the group lab_a");
        assert_eq!(verdict(&bob, "acctonly"), "account chemistry may not use it");
        let carol = user("carol", "lab_b", "chemistry", version);
        let carols = choice(version, &carol, &wanted(120));
        assert_eq!(verdict(&carols, "acctonly"), "account chemistry may not use it; account physics may");
        let named = JobNeeds { account: Some("physics".to_owned()), ..wanted(120) };
        assert_eq!(verdict(&choice(version, &carol, &named), "acctonly"), "usable, 0 idle nodes");
    }
}

#[test]
fn without_a_usable_default_idle_nodes_decide_and_then_the_name() {
    let mut partitions = parse_partitions(PARTITIONS[0]);
    partitions[0].groups = AllowList::These(vec!["others".to_owned()]);
    let alice = user("alice", "lab_a", "physics", 0);
    let mut nodes = parse_nodes(NODES[0]);
    nodes.get_mut("low").unwrap().idle = 2;
    let best = choose(&partitions, &nodes, &alice, &wanted(60));
    let (chosen, why) = best.instead_of_default().unwrap();
    assert_eq!(chosen.name, "low");
    assert_eq!(chosen.because, "of the 4 that you may use, it has the most idle nodes (2)");
    assert_eq!(why, "the default partition main cannot be used: it is restricted to the group others");
    nodes.get_mut("low").unwrap().idle = 0;
    assert_eq!(choose(&partitions, &nodes, &alice, &wanted(60)).chosen.unwrap().name, "acctonly");
    // No partition allows three days.
    assert_eq!(choose(&partitions, &nodes, &alice, &wanted(4320)).chosen, None);
}

#[test]
fn sizes_shut_out() {
    let alice = user("alice", "lab_a", "physics", 1);
    for (asked, words) in [
        (JobNeeds { nodes: Some(4), ..wanted(60) }, "jobs there may use at most 3 node(s)"),
        (JobNeeds { cpus: Some(5), ..wanted(60) }, "its nodes have at most 4 CPUs"),
        (JobNeeds { gpus: true, ..wanted(60) }, "its nodes have no GPUs"),
        (JobNeeds { mem_mib: Some(4001), ..wanted(60) }, "its nodes have at most 4000 MiB of memory"),
    ] {
        assert_eq!(verdict(&choice(1, &alice, &asked), "main"), words);
    }
}

#[test]
fn a_qos_may_be_needed() {
    let mut partitions = parse_partitions(PARTITIONS[2]);
    partitions[0].qos = AllowList::These(vec!["express".to_owned()]);
    let alice = user("alice", "lab_a", "physics", 2);
    let found = choose(&partitions, &BTreeMap::new(), &alice, &wanted(5));
    assert_eq!(verdict(&found, "main"), "QOS normal may not use it; QOS express may");
    let named = JobNeeds { qos: Some("express".to_owned()), ..wanted(5) };
    assert_eq!(choose(&partitions, &BTreeMap::new(), &alice, &named).chosen.unwrap().name, "main");
}

#[test]
fn without_accounting_accounts_are_not_held_against_a_partition() {
    let alone =
        SlurmUser { name: "bob".to_owned(), groups: ["lab_b".to_owned()].into(), ..SlurmUser::default() };
    assert_eq!(verdict(&choice(0, &alone, &wanted(60)), "acctonly"), "usable, 0 idle nodes");
    assert_eq!(verdict(&choice(0, &alone, &wanted(60)), "grponly"), "it is restricted to the group lab_a");
}

#[test]
fn an_account_below_a_listed_one_is_listed() {
    let parents =
        parse_parents("lab|root||\nlab|chemistry||root\nlab|lab_x||chemistry\nlab|lab_x|bob|\n", "lab");
    let bob = SlurmUser { parents, ..SlurmUser::default() };
    assert!(bob.is_listed("lab_x", &["chemistry".to_owned()]));
    assert!(!bob.is_listed("chemistry", &["lab_x".to_owned()]));
    let circle = [("a".to_owned(), "b".to_owned()), ("b".to_owned(), "a".to_owned())].into();
    assert!(!SlurmUser { parents: circle, ..SlurmUser::default() }.is_listed("a", &["c".to_owned()]));
}

#[test]
fn limits_of_a_user_are_read() {
    for text in RECORDED_ASSOCIATIONS {
        assert!(text.lines().next().is_some_and(|command| command.contains(ASSOCIATIONS)));
        let bob = parse_associations(text, "lab", "bob");
        let limits = UserLimits { jobs: Some(4), submitted: Some(20), minutes: Some(120) };
        assert_eq!(bob.limits["chemistry"], limits);
        assert_eq!(parse_associations(text, "lab", "alice").limits["physics"], UserLimits::default());
        assert!(parse_associations(text, "elsewhere", "bob").accounts.is_empty());
    }
}

#[test]
fn partitions_with_gpus_are_known() {
    let found =
        parse_nodes("all|up|1:00|2|idle|4|4000|gpu:a100:4(S:0-1),tmp:1\ncpu|up|1:00|2|idle|4|4000|(null)\n");
    assert!(found["all"].gpus && !found["cpu"].gpus);
}

#[test]
fn idle_nodes_are_counted() {
    let text = "main*|up|1-00:00:00|2|idle|4+|4000+|(null)\nmain*|up|1-00:00:00|1|idle*|8|4000|(null)\n";
    assert_eq!(
        parse_nodes(text)["main"],
        PartitionNodes {
            idle: 2,
            in_service: 2,
            cpus: Some(8),
            mem_mib: Some(4000),
            mem_in_service: Some(4000),
            gpus: false
        }
    );
}

proptest! {
    #[test]
    fn nothing_that_slurm_could_say_is_a_panic(text in "(PartitionName=|Max(Time|Nodes)=|AllowGroups=|[ =|,\n*+A-Z0-9é:-]){0,80}") {
        let partitions = parse_partitions(&text);
        let nodes = parse_nodes(&text);
        let associations = Some(parse_associations(&text, "", "A"));
        let parents = parse_parents(&text, "");
        let user = SlurmUser { associations, parents, default_account: Some("A".to_owned()), ..SlurmUser::default() };
        let choice = choose(&partitions, &nodes, &user, &wanted(60));
        prop_assert_eq!(choice.considered.len(), partitions.len());
        if let Some(chosen) = choice.chosen {
            let usable = |verdict: &Usability| matches!(verdict, Usability::Usable { .. });
            let found = choice.considered.iter().any(|(name, verdict)| *name == chosen.name && usable(verdict));
            prop_assert!(found);
        }
    }
}
