//! Real processes that behave badly: shell scripts in real time.

use std::sync::Mutex;

use tokio::io::AsyncReadExt as _;

use super::*;

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<(String, String)>>);

impl LineLog for Kept {
    fn line(&self, label: &str, line: &str) {
        self.0.lock().expect("lock").push((label.to_owned(), line.to_owned()));
    }
}

impl Kept {
    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("lock").iter().map(|(_, line)| line.clone()).collect()
    }
}

struct Deaf;

impl LineJudge for Deaf {
    fn line(&mut self, _: &str) -> bool {
        false
    }

    fn end(&mut self) -> SourceEnd {
        SourceEnd::default()
    }
}

fn sh(script: &str) -> (Running, Arc<Kept>) {
    sh_with_tail(script, 0)
}

fn sh_with_tail(script: &str, untrusted_tail: usize) -> (Running, Arc<Kept>) {
    let log = Arc::new(Kept::default());
    let job = ChildCommand {
        program: "sh".into(),
        package: "dash",
        args: vec!["-c".into(), script.into()],
        label: "27c3/saal-1 #1".to_owned(),
        log: log.clone(),
        judge: Box::new(Deaf),
        untrusted_tail,
    };
    (start(job).expect("started"), log)
}

/// Everything within a generous deadline, so that a stuck child fails the test instead of hanging it.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("stuck: {what}"))
}

async fn bytes_of(running: &mut Running) -> Vec<u8> {
    let mut bytes = Vec::new();
    soon("bytes", running.bytes.read_to_end(&mut bytes)).await.expect("read");
    bytes
}

#[tokio::test]
async fn the_last_bytes_after_a_stop_are_left_out_where_they_are_not_to_be_trusted() {
    for (tail, last) in [(0, "abcdef"), (2, "abcd"), (6, ""), (100, "")] {
        let script = "trap 'printf abc >&0; printf def >&0; exit' TERM; printf first >&0; while :; do sleep 0.05; done";
        let (mut running, _) = sh_with_tail(script, tail);
        let mut first = [0; 5];
        soon("first", running.bytes.read_exact(&mut first)).await.expect("read");
        running.stop.cancel();
        assert_eq!(bytes_of(&mut running).await, last.as_bytes(), "{tail}");
    }
    // Without a stop all of it counts.
    let (mut running, _) = sh_with_tail("printf media >&0", 4);
    assert_eq!(bytes_of(&mut running).await, b"media");
}

/// Gone for good: neither running nor a zombie.
async fn assert_gone(process: ProcessId) {
    soon("still there", async {
        while start_ticks(process.pid) == Some(process.start_ticks) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn bytes_and_lines_arrive_and_the_end_is_seen() {
    let (mut running, log) = sh("printf media >&0; echo out; echo err >&2; env | sort; pwd");
    assert_eq!(bytes_of(&mut running).await, b"media");
    assert_eq!(soon("end", &mut running.ended).await.expect("sent"), SourceEnd::default());
    let lines = log.lines();
    assert_eq!(lines[..2], ["out", "err"]);
    for secret in ["CARGO", "USER", "SSH"] {
        assert!(!lines.iter().any(|l| l.starts_with(secret)), "{lines:?}");
    }
    assert!(lines.contains(&"HOME=/nonexistent".to_owned()) && lines.last().is_some_and(|l| l == "/"), "{lines:?}");
    assert_eq!(log.0.lock().expect("lock")[0].0, "27c3/saal-1 #1");
    assert_gone(running.process.expect("a process")).await;
}

#[tokio::test]
async fn a_polite_child_ends_at_term_and_says_what_it_still_has() {
    let (mut running, _) = sh("trap 'printf last >&0; exit 1' TERM; printf first >&0; while :; do sleep 0.05; done");
    let mut first = [0; 5];
    soon("first", running.bytes.read_exact(&mut first)).await.expect("read");
    running.stop.cancel();
    assert_eq!(bytes_of(&mut running).await, b"last");
    // Whatever its exit code: we wanted it.
    assert_eq!(soon("end", &mut running.ended).await.expect("sent"), SourceEnd::default());
}

#[tokio::test]
async fn one_that_ignores_term_is_killed_with_its_children() {
    let (mut running, log) = sh("trap '' TERM; sleep 1000 & echo child $!; while :; do sleep 1000; done");
    soon("line", async {
        while log.lines().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let child = log.lines()[0].strip_prefix("child ").and_then(|pid| pid.parse().ok()).and_then(process_id);
    running.stop.cancel();
    soon("end", &mut running.ended).await.expect("sent");
    assert_eq!(bytes_of(&mut running).await, b"");
    assert_gone(running.process.expect("a process")).await;
    assert_gone(child.expect("a grandchild")).await;
}

#[tokio::test]
async fn kill_does_not_wait() {
    let (mut running, _) = sh("trap '' TERM; while :; do sleep 1000; done");
    running.stop.cancel();
    running.kill.cancel();
    soon("end", &mut running.ended).await.expect("sent");
    assert_gone(running.process.expect("a process")).await;
}

#[tokio::test]
async fn one_that_closes_its_pipe_and_lives_on_ends_the_bytes_and_can_be_stopped() {
    let (mut running, _) = sh("printf media >&0; exec 0>&-; exec sleep 1000 0</dev/null");
    assert_eq!(bytes_of(&mut running).await, b"media");
    assert!(running.ended.try_recv().is_err(), "it lives");
    running.stop.cancel();
    soon("end", &mut running.ended).await.expect("sent");
    assert_gone(running.process.expect("a process")).await;
}

#[tokio::test]
async fn a_grandchild_that_left_the_group_does_not_hold_the_bytes_open() {
    // It ends when its child has said its number.
    let (mut running, log) = sh("d=$(mktemp -d); mkfifo $d/said; \
        setsid sh -c \"echo \\$\\$; echo > $d/said; exec sleep 1000\" & \
        printf media >&0; read said < $d/said; rm -r $d; exit 0");
    assert_eq!(bytes_of(&mut running).await, b"media");
    soon("end", &mut running.ended).await.expect("sent");
    let pid = log.lines()[0].parse().ok().and_then(Pid::from_raw).expect("its pid");
    rustix::process::kill_process(pid, Signal::KILL).expect("it lived");
}

#[tokio::test]
async fn ten_megabytes_of_messages_do_not_stop_the_bytes() {
    let script = "(head -c 5000000 /dev/zero | tr '\\0' x; printf '\\377\\n'; yes http://me:s3cret@h/ | head -c 5000000) >&2; \
                  printf media >&0";
    let (mut running, log) = sh(script);
    assert_eq!(bytes_of(&mut running).await, b"media");
    soon("end", &mut running.ended).await.expect("sent");
    let lines = log.lines();
    let kept: usize = lines.iter().map(String::len).sum();
    assert!(kept < 5 << 20, "{kept} bytes kept");
    assert!(lines.iter().all(|l| !l.contains("s3cret")));
    assert!(lines.last().is_some_and(|l| l.contains("too many messages")));
}

#[tokio::test]
async fn a_crash_and_a_failure_are_told_apart_from_an_end() {
    for (script, detail) in [("kill -SEGV $$", "killed by signal 11"), ("exit 3", "exit code 3")] {
        let (mut running, _) = sh(script);
        assert_eq!(bytes_of(&mut running).await, b"");
        let end = soon("end", &mut running.ended).await.expect("sent");
        assert_eq!(end, SourceEnd { reason: Some(EndReason::SourceFailed), detail: Some(detail.to_owned()) });
    }
}

#[tokio::test]
async fn a_child_whose_tape_is_gone_does_not_stay() {
    let (running, _) = sh("trap '' TERM; while :; do sleep 1000; done");
    let process = running.process.expect("a process");
    drop(running);
    assert_gone(process).await;
}

#[tokio::test]
async fn a_missing_program_is_named_with_its_package() {
    let job = ChildCommand {
        program: "no-such-mplayer".into(),
        package: "mplayer",
        args: Vec::new(),
        label: String::new(),
        log: Arc::new(Kept::default()),
        judge: Box::new(Deaf),
        untrusted_tail: 0,
    };
    let end = start(job).expect_err("missing");
    assert_eq!(end.reason, Some(EndReason::SourceMissing));
    assert!(end.detail.expect("said").contains("apt install mplayer"));
}

/// `pid` of the process, of its group and of its session: the one we started leads both, so that its number is
/// the group's.
#[tokio::test]
async fn a_child_leads_its_session_and_group_and_is_the_process_that_is_known() {
    let (mut running, log) = sh("cut -d' ' -f1,5,6 /proc/$$/stat");
    let known = running.process.expect("a process");
    bytes_of(&mut running).await;
    soon("end", &mut running.ended).await.expect("sent");
    let pid = known.pid;
    assert_eq!(log.lines(), [format!("{pid} {pid} {pid}")]);
}

/// Before it leads a group there is none to signal.
#[tokio::test]
async fn a_stop_in_its_first_milliseconds_is_not_lost() {
    let mut lost = 0;
    for _ in 0..20 {
        // One that hears nothing of a TERM says so before the KILL comes.
        let (mut running, log) = sh("trap exit TERM; sleep 3 & wait $!; echo lost; exec sleep 1000");
        running.stop.cancel();
        soon("end", &mut running.ended).await.expect("sent");
        lost += log.lines().len();
        assert_gone(running.process.expect("a process")).await;
    }
    // A machine that is busy may come to one of them only after its three seconds.
    assert!(lost <= 2, "{lost} of 20");
}

/// Where the next test's parent says who its child is.
const CHILD_IS_IN: &str = "STREAMRIP_TEST_CHILD_IS_IN";

#[tokio::test]
#[ignore = "the parent of the next test: it lives until it is killed"]
async fn a_parent_that_is_killed() {
    let Some(place) = std::env::var_os(CHILD_IS_IN).map(PathBuf::from) else { return };
    let (running, log) = sh("echo up; exec sleep 1000");
    // Before that it is still becoming the program.
    soon("line", async {
        while log.lines().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let child = running.process.expect("a process");
    std::fs::write(place.with_extension("part"), format!("{} {}", child.pid, child.start_ticks)).expect("written");
    std::fs::rename(place.with_extension("part"), place).expect("renamed");
    tokio::time::sleep(Duration::from_secs(300)).await;
}

#[tokio::test]
async fn a_child_ends_when_we_are_killed() {
    let dir = tempfile::tempdir().expect("dir");
    let place = dir.path().join("child");
    let name = concat!(module_path!(), "::a_parent_that_is_killed").split_once("::").expect("a crate").1;
    let mut parent = tokio::process::Command::new(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--ignored"])
        .env(CHILD_IS_IN, &place)
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("started");
    let said = soon("a child", async {
        loop {
            match std::fs::read_to_string(&place) {
                Ok(said) => return said,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await;
    let (pid, start_ticks) = said.split_once(' ').expect("two numbers");
    let child = ProcessId { pid: pid.parse().expect("a pid"), start_ticks: start_ticks.parse().expect("ticks") };
    assert!(is_running(child));
    parent.kill().await.expect("killed");
    let gone = tokio::time::timeout(Duration::from_secs(30), async {
        while is_running(child) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let gone = gone.await;
    if gone.is_err() {
        signal_family(Pid::from_raw(child.pid.cast_signed()).expect("a pid"), Signal::KILL);
    }
    gone.expect("it outlived us");
}
