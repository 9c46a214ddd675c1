//! The initial state of a site: clusters, nodes, partitions, users, and their limits.

use std::time::Duration;

/// A site with all its clusters.
#[derive(Clone, Debug)]
pub struct Site {
    /// The clusters; the first one is used by commands without `-M`, unless the caller says otherwise.
    pub clusters: Vec<ClusterSpec>,
    /// All users who submit jobs.
    pub people: Vec<Person>,
    /// Accounts.
    pub accounts: Vec<Account>,
    /// Qualities of service.
    pub qos: Vec<Qos>,
    /// Whether the site has accounting (slurmdbd).
    pub accounting: bool,
}

/// A cluster.
#[derive(Clone, Debug)]
pub struct ClusterSpec {
    /// Name.
    pub name: String,
    /// Version, as printed by `sbatch --version`.
    pub version: String,
    /// Nodes, in Slurm's order.
    pub nodes: Vec<NodeSpec>,
    /// Partitions, in Slurm's order.
    pub partitions: Vec<PartitionSpec>,
    /// Configured and measured times.
    pub times: Times,
    /// The first job number.
    pub first_number: u64,
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Name.
    pub name: String,
    /// CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// What happens to jobs of a partition when those of a higher tier need their resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preempt {
    /// Nothing.
    #[default]
    Off,
    /// They are requeued; those that may not be requeued end.
    Requeue,
    /// They end.
    Cancel,
}

/// A partition.
#[derive(Clone, Debug)]
pub struct PartitionSpec {
    /// Name.
    pub name: String,
    /// Whether it is used for jobs that name none.
    pub default: bool,
    /// `UP`, or `DOWN`: accepts jobs but runs none.
    pub up: bool,
    /// Longest time of a job, in minutes.
    pub max_minutes: u32,
    /// Default time limit in minutes.
    pub default_minutes: u32,
    /// Its nodes; empty: all.
    pub nodes: Vec<String>,
    /// Not shown without `-a`.
    pub hidden: bool,
    /// Only accepts jobs with a reservation.
    pub reserved_only: bool,
    /// Tier: jobs of a higher tier go first, and may preempt.
    pub tier: u32,
    /// What happens to its jobs when those of a higher tier arrive.
    pub preempt: Preempt,
    /// Unix groups that may use it; empty: all.
    pub groups: Vec<String>,
    /// Accounts that may use it; empty: all.
    pub accounts: Vec<String>,
}

impl PartitionSpec {
    /// A partition with all nodes that everybody may use for a day.
    pub fn open(name: &str) -> Self {
        PartitionSpec {
            name: name.to_owned(),
            default: false,
            up: true,
            max_minutes: 1440,
            default_minutes: 10,
            nodes: Vec::new(),
            hidden: false,
            reserved_only: false,
            tier: 10,
            preempt: Preempt::Off,
            groups: Vec::new(),
            accounts: Vec::new(),
        }
    }
}

/// A user with a Unix account.
#[derive(Clone, Debug)]
pub struct Person {
    /// Name.
    pub name: String,
    /// UID.
    pub uid: u32,
    /// Unix groups.
    pub groups: Vec<String>,
    /// The accounts that the user may charge; the first is the default.
    pub associations: Vec<Association>,
}

/// The right of a user to charge an account, and its limits.
#[derive(Clone, Debug, Default)]
pub struct Association {
    /// Account.
    pub account: String,
    /// Qualities of service that may be used.
    pub qos: Vec<String>,
    /// Running jobs.
    pub max_jobs: Option<u32>,
    /// Jobs in the queue.
    pub max_submitted: Option<u32>,
    /// Minutes of a job.
    pub max_minutes: Option<u32>,
}

/// An account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Name.
    pub name: String,
    /// Running jobs of all its users.
    pub group_jobs: Option<u32>,
}

/// A quality of service.
#[derive(Clone, Debug)]
pub struct Qos {
    /// Name.
    pub name: String,
    /// Minutes of a job.
    pub max_minutes: Option<u32>,
    /// Running jobs of one user.
    pub max_jobs: Option<u32>,
    /// Jobs of one user in the queue.
    pub max_submitted: Option<u32>,
}

/// How long things take.
#[derive(Clone, Debug)]
pub struct Times {
    /// `MessageTimeout`: how long a command waits for a controller that does not answer.
    pub message_timeout: Duration,
    /// `KillWait`: time between SIGTERM and SIGKILL.
    pub kill_wait: Duration,
    /// `SlurmdTimeout`: a node that does not respond for longer is given up.
    pub slurmd_timeout: Duration,
    /// Measured additional delay until it is given up.
    pub node_down_delay: Duration,
    /// How long a node that is back may take to end executions that were requeued.
    pub rejoin_cleanup: Duration,
    /// `MinJobAge`: how long ended jobs are shown.
    pub min_job_age: Duration,
    /// How often old jobs are purged.
    pub purge_step: Duration,
    /// How long a requeued job waits.
    pub requeue_wait: Duration,
    /// The scheduler runs at multiples of this.
    pub schedule_step: Duration,
    /// Time limits are enforced at multiples of this.
    pub limit_step: Duration,
    /// How long after its end a reservation is removed, together with its jobs.
    pub reservation_purge: Duration,
    /// Shortest and longest time of an answer.
    pub answer: (Duration, Duration),
    /// Shortest and longest delay until accounting learns about a change.
    pub accounting_lag: (Duration, Duration),
    /// How long accounting takes to learn what it missed, once it is back.
    pub accounting_catch_up: Duration,
}

impl Times {
    /// Slurm's default configuration, with delays that were measured on Slurm 22.05.
    pub fn stock() -> Self {
        Times {
            message_timeout: Duration::from_secs(10),
            kill_wait: Duration::from_secs(30),
            slurmd_timeout: Duration::from_secs(300),
            node_down_delay: Duration::from_secs(15),
            rejoin_cleanup: Duration::from_secs(14),
            min_job_age: Duration::from_secs(300),
            purge_step: Duration::from_secs(60),
            requeue_wait: Duration::from_secs(120),
            schedule_step: Duration::from_secs(1),
            limit_step: Duration::from_secs(30),
            reservation_purge: Duration::from_secs(20),
            answer: (Duration::from_millis(9), Duration::from_millis(30)),
            accounting_lag: (Duration::from_millis(600), Duration::from_millis(2000)),
            accounting_catch_up: Duration::from_millis(2400),
        }
    }
}

impl Site {
    /// The site of `slurm-tests`: one cluster `lab` of three nodes, its partitions, and alice, bob and carol.
    pub fn of_tests() -> Self {
        let association = |account: &str, qos: &[&str]| Association {
            account: account.to_owned(),
            qos: qos.iter().map(|name| (*name).to_owned()).collect(),
            ..Association::default()
        };
        let person = |name: &str, uid, group: &str, associations| Person {
            name: name.to_owned(),
            uid,
            groups: vec![name.to_owned(), group.to_owned()],
            associations,
        };
        let of_bob = Association {
            max_jobs: Some(4),
            max_submitted: Some(20),
            max_minutes: Some(120),
            ..association("chemistry", &["normal"])
        };
        Site {
            clusters: vec![ClusterSpec::of_tests("lab", 3)],
            people: vec![
                person("root", 0, "root", vec![association("root", &["normal"])]),
                person("alice", 2001, "lab_a", vec![association("physics", &["express", "normal"])]),
                person("bob", 2002, "lab_b", vec![of_bob]),
                person(
                    "carol",
                    2003,
                    "lab_b",
                    vec![association("chemistry", &["normal"]), association("physics", &["normal"])],
                ),
            ],
            accounts: vec![
                Account { name: "chemistry".to_owned(), group_jobs: Some(16) },
                Account { name: "physics".to_owned(), group_jobs: None },
            ],
            qos: vec![
                Qos { name: "normal".to_owned(), max_minutes: None, max_jobs: None, max_submitted: None },
                Qos {
                    name: "express".to_owned(),
                    max_minutes: Some(10),
                    max_jobs: Some(2),
                    max_submitted: Some(4),
                },
            ],
            accounting: true,
        }
    }

    /// The user with this name.
    pub fn person(&self, name: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.name == name)
    }
}

impl ClusterSpec {
    /// A cluster of some nodes (`n1` …) with the partitions and the timeouts of `slurm-tests`.
    pub fn of_tests(name: &str, nodes: usize) -> Self {
        let open = PartitionSpec::open;
        ClusterSpec {
            name: name.to_owned(),
            version: "22.05.8".to_owned(),
            nodes: (1..=nodes)
                .map(|number| NodeSpec { name: format!("n{number}"), cpus: 4, memory_mib: 4000 })
                .collect(),
            partitions: vec![
                PartitionSpec { default: true, ..open("main") },
                PartitionSpec { groups: vec!["lab_a".to_owned()], ..open("grponly") },
                PartitionSpec { accounts: vec!["physics".to_owned()], ..open("acctonly") },
                PartitionSpec { max_minutes: 1, default_minutes: 1, ..open("short") },
                PartitionSpec { tier: 100, ..open("high") },
                PartitionSpec { tier: 1, preempt: Preempt::Requeue, ..open("low") },
                PartitionSpec { up: false, ..open("down") },
            ],
            times: Times {
                kill_wait: Duration::from_secs(3),
                slurmd_timeout: Duration::from_secs(10),
                ..Times::stock()
            },
            first_number: 1,
        }
    }
}
