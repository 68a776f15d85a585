use super::*;
use crate::app::library::assemble::tests::Site;
use crate::app::library::assemble::{AssembleOutcome, assemble_talk, no_progress};
use crate::app::library::retention::retain;
use crate::app::library::verify::{VerifyRequest, verify};
use crate::domain::settings::{KeepAssemblies, Prune};
use crate::domain::time::HOUR;

async fn join(site: &Site) -> AssembleOutcome {
    let outcome = assemble_talk(&site.env, &site.reader, &site.writer, TalkId(7), false, no_progress()).await;
    outcome.expect("no failure")
}

/// The names in the folder of the talks, without what they begin with.
fn names(site: &Site) -> Vec<String> {
    site.files().iter().map(|name| name.trim_start_matches("2010-12-27_2030_saal-1_").to_owned()).collect()
}

fn problems(site: &Site) -> Vec<String> {
    let verified =
        verify(&site.env, VerifyRequest { fast: true, repair: false, deep: false }, &mut |_, _| {}).expect("verified");
    let about_talks = verified.problems.iter().filter(|p| p.path.as_ref().is_some_and(|p| !p.starts_with("segments")));
    about_talks.map(|p| format!("{} {}", p.fault, p.path.as_ref().expect("a path").display())).collect()
}

#[tokio::test]
async fn what_tells_of_a_file_follows_it() {
    let mut site = Site::new();
    let segment = site.tape(-1.0, 21.5).await;
    join(&site).await;
    assert_eq!(names(&site), ["we-come-in-peace.mkv"], "only where it is wanted");
    site.env.settings.assemble.sidecar = vec![SidecarFormat::Json, SidecarFormat::Nfo];
    // Also beside a file that is there already.
    assert!(matches!(join(&site).await, AssembleOutcome::UpToDate(_)));
    assert_eq!(names(&site), ["we-come-in-peace.json", "we-come-in-peace.mkv", "we-come-in-peace.nfo"]);
    assert_eq!(problems(&site), [""; 0]);
    let folder = site.env.data_dir.join("talks/27c3");
    let json = folder.join("2010-12-27_2030_saal-1_we-come-in-peace.json");
    let mut told: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).expect("read")).expect("JSON");
    let shown = site.query(|db| {
        let view = report::one(db, &site.env, "7").expect("the talk");
        json::shown(db, &view).expect("told")
    });
    assert_eq!(told["made_by"].take(), "streamrip");
    told.as_object_mut().expect("an object").remove("made_by");
    assert_eq!(told, shown);
    assert!(told["parts"].as_array().is_some_and(|parts| parts.len() == 1), "{told}");

    // Renamed with it, and told anew.
    site.sql("UPDATE talk SET title = 'A & B' WHERE id = 7").await;
    join(&site).await;
    assert_eq!(names(&site), ["a-b.json", "a-b.mkv", "a-b.nfo"]);
    let nfo = std::fs::read_to_string(folder.join("2010-12-27_2030_saal-1_a-b.nfo")).expect("read");
    assert!(nfo.contains("<title>A &amp; B</title>") && nfo.contains("<credits>Rop</credits>"), "{nfo}");
    // Also where the file itself stays what it is, since a segment is gone.
    let path = site.query(|db| crate::catalog::segments::segment(db, segment).expect("read")).expect("there").path;
    std::fs::remove_file(site.env.data_dir.join(path)).expect("removed");
    site.tape(0.0, 3.0).await;
    site.sql("UPDATE segment SET verdict = 'lost' WHERE id = 1; UPDATE talk SET title = 'C' WHERE id = 7").await;
    assert!(matches!(join(&site).await, AssembleOutcome::Kept(_)));
    assert_eq!(names(&site), ["c.json", "c.mkv", "c.nfo"]);

    // One that tells of nothing is found.
    std::fs::write(folder.join("other.nfo"), b"x").expect("written");
    assert_eq!(problems(&site), ["unknown-file talks/27c3/other.nfo"]);
    std::fs::remove_file(folder.join("other.nfo")).expect("removed");

    // It goes with the file.
    site.clock.step(HOUR);
    let mut env = site.env.clone();
    env.settings.prune = Prune { keep_assemblies: Some(KeepAssemblies::Age(0)), ..Prune::default() };
    retain(&env, &site.reader, &site.writer, false).await.expect("pruned");
    assert_eq!(names(&site), [""; 0]);
}

#[tokio::test]
async fn what_tells_of_an_opted_out_talk_goes() {
    let mut site = Site::new();
    site.env.settings.assemble.sidecar = vec![SidecarFormat::Nfo];
    site.tape(-1.0, 21.5).await;
    join(&site).await;
    assert_eq!(names(&site).len(), 2);
    site.sql("UPDATE talk SET opted_out = 1 WHERE id = 7").await;
    join(&site).await;
    assert_eq!(names(&site), [""; 0]);
    let aside: Vec<_> = std::fs::read_dir(site.env.data_dir.join("quarantine")).expect("made").flatten().collect();
    assert_eq!(aside.len(), 1, "{aside:?}");
}

#[tokio::test]
async fn what_others_wrote_beside_a_file_is_left_alone() {
    let mut site = Site::new();
    site.tape(-1.0, 21.5).await;
    join(&site).await;
    let folder = site.env.data_dir.join("talks/27c3");
    let at = |name: &str| folder.join(format!("2010-12-27_2030_saal-1_{name}"));
    // A media centre's, where none is wanted of us; and a JSON of the user's.
    std::fs::write(at("we-come-in-peace.nfo"), "<movie><title>Mine</title></movie>").expect("written");
    std::fs::write(at("we-come-in-peace.json"), "[\"made_by\", \"streamrip\"]").expect("written");
    site.sql("UPDATE talk SET title = 'New' WHERE id = 7").await;
    join(&site).await;
    assert_eq!(names(&site), ["new.mkv", "we-come-in-peace.json", "we-come-in-peace.nfo"]);
    // One that somebody edited, and that does not bear the mark any more.
    site.env.settings.assemble.sidecar = vec![SidecarFormat::Nfo];
    join(&site).await;
    let ours = std::fs::read_to_string(at("new.nfo")).expect("read");
    std::fs::write(at("new.nfo"), ours.replace(MARK, "")).expect("written");
    join(&site).await;
    assert!(!std::fs::read_to_string(at("new.nfo")).expect("read").contains(MARK));
    std::fs::write(at("new.nfo"), ours.replace("New", "Newer")).expect("written");
    join(&site).await;
    assert_eq!(std::fs::read_to_string(at("new.nfo")).expect("read"), ours);
    site.sql("UPDATE talk SET opted_out = 1 WHERE id = 7").await;
    join(&site).await;
    assert_eq!(names(&site), ["we-come-in-peace.json", "we-come-in-peace.nfo"]);
}
