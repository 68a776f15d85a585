//! What a joined file shows, judged by the media in it: each frame carries its number and each second of audio its tone
//! (`streamrip_lab::truth`). The streams are those that real encoders send and that readers stumble over: pictures without
//! a time, tracks that come late, formats and PIDs that change, languages that change their order.

mod formats;
mod joined;
mod restarts;
mod ts;
mod untimed;
