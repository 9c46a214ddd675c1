//! Measures how long the simulated Slurm takes for the whole life of a job, with the commands that Amore uses.

#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::time::{Duration, Instant};

use amore_simulation::{
    Generator, Moment,
    slurm::{Exit, SimulatedSlurm, Site, SlurmEvent},
};

const JOBS: u32 = 20_000;

#[expect(clippy::print_stdout, reason = "the figure is what this program is for")]
fn main() {
    let mut now = Moment::from_seconds(1_795_426_426);
    let mut slurm = SimulatedSlurm::new(Site::of_tests(), now, Generator::seeded(1));
    let Some(alice) = slurm.caller("alice") else { return };
    let began = Instant::now();
    for number in 0..JOBS {
        let comment = format!("--comment=amore:{number:x}-1");
        let submit = [
            "sbatch",
            "--parsable",
            "--export=ALL",
            "--open-mode=append",
            "--no-requeue",
            "--job-name=r1-p1234-damnit",
            &comment,
            "--chdir=/gpfs/p",
            "--output=/gpfs/p/slurm_logs/r1-p1234-%j.out",
            "--time=120",
            "--nodes=1",
            "--ntasks=1",
        ];
        let job = slurm.command(now, &alice, &submit, "#!/bin/sh\ntrue\n").stdout.trim().to_owned();
        now += Duration::from_secs(1);
        for event in slurm.advance(now) {
            if let SlurmEvent::Started(start) = event {
                now += Duration::from_millis(500);
                slurm.script_ended(now, start.execution, Exit::Code(0));
            }
        }
        let queue = ["squeue", "-h", "-a", "-r", "-t", "all", "-u", "2001", "-o", "%i|%T|%N|%P|%v|%k|%r"];
        slurm.command(now, &alice, &queue, "");
        now += Duration::from_secs(3);
        let kept = "JobID,State,ExitCode,NodeList,Partition,Reservation,Reason,SubmitLine";
        slurm.command(now, &alice, &["sacct", "-X", "-n", "-P", "-j", &job, "-o", kept], "");
        slurm.advance(now);
    }
    let each = began.elapsed() / JOBS;
    println!("{JOBS} jobs from sbatch to sacct: {:.1} µs each", each.as_secs_f64() * 1e6);
}
