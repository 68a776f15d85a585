//! What is known around one talk, and what is looked at to know it: what its plan is made from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;

use super::{TALKS, name_of};
use crate::app::library::index::{IndexOutcome, arrivals, index_file, index_segment};
use crate::app::library::optout;
use crate::app::library::report::{self, TalkView};
use crate::app::support::blocking::{Reader, media, media_failure, read};
use crate::app::support::env::Env;
use crate::app::support::failure::Result;
use crate::catalog::assemblies::{Assembly, Part};
use crate::catalog::writer::Writer;
use crate::catalog::{assembly_queue, media_index, schedule, segments};
use crate::domain::file_name::FileNameTemplate;
use crate::domain::ids::{SegmentId, TalkId};
use crate::domain::interval::IntervalSet;
use crate::domain::media::MediaIndex;
use crate::domain::segment::{Segment, Verdict};
use crate::domain::time::Ms;
use crate::media::MediaError;
use crate::plan::assembly::{AssemblyInputs, EditList, about, plan};
use crate::plan::wanted::forbidden_slots;

/// What the catalog knows around one talk.
pub(super) struct TalkInputs {
    /// Which change put the talk on the list, as of before the rest was read: what changes later keeps it there.
    pub(super) stamp: Option<i64>,
    pub(super) view: TalkView,
    pub(super) indexes: HashMap<SegmentId, MediaIndex>,
    pub(super) forbidden: IntervalSet,
    /// How the file is to be called.
    file_name: FileNameTemplate,
}

impl TalkInputs {
    pub(super) fn read(db: &Connection, env: &Env, talk: TalkId) -> Result<Self> {
        let stamp = assembly_queue::stamp(db, talk)?;
        let view = report::by_id(db, env, talk.0)?;
        let mut indexes = HashMap::new();
        for segment in view.segments.iter().filter(|s| s.verdict == Verdict::Media) {
            if let Some(index) = media_index::of_segment(db, segment.id)? {
                indexes.insert(segment.id, index);
            }
        }
        let near = schedule::TalkFilter { hall: Some(view.hall.id), within: Some(view.window), event: None };
        let forbidden = forbidden_slots(&schedule::talks(db, near)?);
        Ok(Self { stamp, view, indexes, forbidden, file_name: env.settings.assemble.file_name.clone() })
    }

    pub(super) fn plan(&self, env: &Env) -> EditList {
        // The padding ends where a neighbour that must not be recorded begins.
        let allowed = IntervalSet::from(self.view.window).subtract(&self.forbidden);
        let slot = self.view.talk.slot;
        let window = allowed.iter().max_by_key(|part| part.intersect(slot).len_ms()).unwrap_or(slot);
        let mut list = plan(&AssemblyInputs {
            talk: &self.view.talk,
            event: &self.view.event.name,
            hall: &self.view.hall.name,
            zone: self.view.event.zone,
            window,
            segments: self.view.segments.iter().map(|s| (s, self.indexes.get(&s.id))).collect(),
            gaps: &self.view.segment_gaps,
            chapters: env.settings.assemble.chapters,
        });
        if let Some((details, url)) = &self.view.details {
            list.about = about(details, url.as_deref());
        }
        list
    }

    /// Indexes a segment again whose file is not as it was.
    pub(super) async fn reindex(&self, env: &Env, reader: &Reader, writer: &Writer, path: &Path) -> Result<()> {
        let Some(segment) = self.view.segments.iter().find(|s| env.data_dir.join(&s.path) == path) else {
            return Ok(());
        };
        if segment.closed.is_none() {
            // It is being written: looked at anew each time, and never judged before its end.
            return Ok(());
        }
        let (id, now) = (segment.id, env.clock.now());
        let arrivals = read(reader, move |db| arrivals(db, id)).await?;
        match index_file(env, segment, arrivals).await {
            Ok(index) => Ok(writer.call(move |db| media_index::store(db, id, &index, now)).await?),
            Err(MediaError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(writer.call(move |db| segments::set_verdict(db, id, Verdict::Lost, "the file is gone", now)).await?)
            }
            Err(e) => Err(media_failure(&e)),
        }
    }

    /// Where the file belongs. Another talk may have the same start, hall and title: then the id tells
    /// them apart.
    pub(super) fn path(&self, plan: &EditList, taken: impl Fn(&Path) -> Result<bool>) -> Result<PathBuf> {
        let talk = &self.view.talk;
        let extension = if plan.has_video() { "mkv" } else { "mka" };
        let id = format!("-{}", talk.id);
        let path = name_of(&self.file_name, talk, &self.view.event, &self.view.hall, self.view.details.as_ref());
        let named = |id: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(format!("{id}.{extension}"));
            Path::new(TALKS).join(name)
        };
        let path = named("");
        Ok(if taken(&path)? { named(&id) } else { path })
    }

    /// True where the old file holds media that the new one would not have: a segment that it used is not in the new plan,
    /// and is gone, or was left out although it has media of its own.
    pub(super) fn lost_any(&self, parts: &[Part], plan: &EditList) -> bool {
        parts.iter().filter(|part| part.place.is_some()).any(|part| {
            let used = plan.clips.iter().any(|clip| clip.segment == part.segment);
            let there = self.view.segments.iter().any(|s| {
                s.id == part.segment && matches!(s.verdict, Verdict::Media | Verdict::Open | Verdict::Unchecked)
            });
            let left_out = plan.rejected.iter().any(|r| r.segment == part.segment && !r.redundant);
            !used && (!there || left_out)
        })
    }

    /// True where something of the talk may have been recorded after `at`. A segment that was closed later need not
    /// hold any of it: where there are no handovers one lasts all day.
    pub(super) fn recorded_since(&self, at: Ms) -> bool {
        let went_on = self.view.window.end > at;
        let later = |s: &Segment| s.opened > at || (went_on && s.closed.is_none_or(|closed| closed > at));
        self.view.segments.iter().any(later)
    }

    /// True where the old file was made for the same place and time.
    pub(super) fn same_place(&self, old: &Assembly, new: &Path) -> bool {
        // A recording keeps its hall and slot. Only names of old catalogs say that it did not.
        if !self.file_name.is_default() {
            return true;
        }
        let stem = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Day, time and hall; slugs have no `_`.
            name.splitn(4, '_').take(3).map(str::to_owned).collect::<Vec<_>>()
        };
        stem(&old.path) == stem(new)
    }
}

/// Reads the facts; segments that nobody looked at yet, or only another version of this program, are indexed first.
pub(super) async fn gather(env: &Env, reader: &Reader, writer: &Writer, talk: TalkId) -> Result<TalkInputs> {
    let env_for = env.clone();
    let facts = read(reader, move |db| TalkInputs::read(db, &env_for, talk)).await?;
    optout::release(env, writer, &facts.view.segments, &facts.view.talk, facts.view.window, &facts.forbidden).await?;
    let unchecked: Vec<_> = facts
        .view
        .segments
        .iter()
        .filter(|s| matches!(s.verdict, Verdict::Unchecked | Verdict::Quarantined))
        .map(|s| s.id)
        .collect();
    // Its index was written by another version.
    let not_indexed: Vec<_> = facts
        .view
        .segments
        .iter()
        .filter(|s| s.verdict == Verdict::Media && !facts.indexes.contains_key(&s.id))
        .map(|s| env.data_dir.join(&s.path))
        .collect();
    if unchecked.is_empty() && not_indexed.is_empty() {
        return Ok(facts);
    }
    for path in not_indexed {
        if let Err(e) = facts.reindex(env, reader, writer, &path).await {
            tracing::warn!("{} cannot be looked at now, the talk is joined without it: {e}", path.display());
        }
    }
    for segment in unchecked {
        if let IndexOutcome::NotNow(why) = index_segment(env, reader, writer, segment).await? {
            tracing::warn!("segment {segment} cannot be looked at now, the talk is joined without it: {why}");
        }
    }
    let env_for = env.clone();
    read(reader, move |db| TalkInputs::read(db, &env_for, talk)).await
}

/// The tape may go on in a segment that holds the end of this talk: for the next talk, whose window
/// began before this one's ended, or because the server allows one connection only. What is in the file
/// by now is enough; the file of the talk is not made to wait for hours.
pub(super) async fn look_into_open(env: &Env, reader: &Reader, facts: &mut TalkInputs) -> Result<()> {
    let window = facts.view.window;
    let reaches = |s: &&mut Segment| s.verdict == Verdict::Open && s.at.start < window.end && s.at.end >= window.end;
    for segment in facts.view.segments.iter_mut().filter(reaches) {
        let id = segment.id;
        let arrivals = read(reader, move |db| arrivals(db, id)).await?;
        let index = index_file(env, segment, arrivals).await.map_err(|e| media_failure(&e))?;
        if !index.spans.is_empty() {
            // Only here: in the catalog it stays what it is.
            segment.verdict = Verdict::Media;
            facts.indexes.insert(id, index);
        }
    }
    Ok(())
}

/// Plans, and reads from the middle of segments what the plan would like to see: where one mirror's segment
/// ends inside another's. What was read is kept.
pub(super) async fn look_closer(
    env: &Env,
    writer: &Writer,
    facts: &mut TalkInputs,
) -> std::result::Result<EditList, MediaError> {
    /// What is seen may lead to other seams; then what these want is read.
    const ROUNDS: usize = 6;
    for _ in 0..ROUNDS {
        let plan = facts.plan(env);
        let mut wanted: HashMap<SegmentId, Vec<(i64, i64)>> = HashMap::new();
        for (segment, from, to) in &plan.wanted {
            wanted.entry(*segment).or_default().push((*from, *to));
        }
        if wanted.is_empty() {
            return Ok(plan);
        }
        for (id, mut stretches) in wanted {
            stretches.sort_unstable();
            stretches.dedup();
            let (Some(segment), Some(index)) =
                (facts.view.segments.iter().find(|s| s.id == id), facts.indexes.get_mut(&id))
            else {
                continue;
            };
            let (path, known) = (env.data_dir.join(&segment.path), index.clone());
            let job = {
                let (path, engine) = (path.clone(), Arc::clone(&env.engine));
                move |cancel: &_| engine.windows(&path, &known, &stretches, cancel)
            };
            let found = media(job).await.map_err(|e| match e {
                // Its index says that there is media in it.
                MediaError::Content { path, detail } => MediaError::Stale { path, detail },
                e => e,
            })?;
            index.packet_windows.extend(found.iter().cloned());
            if segment.closed.is_some() {
                let stored = writer.call(move |db| media_index::store_windows(db, id, &found)).await;
                if let Err(e) = stored {
                    tracing::debug!("packets of segment {id} are looked up again next time: {e}");
                }
            }
        }
    }
    Ok(facts.plan(env))
}
