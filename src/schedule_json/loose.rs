//! Values of JSON that are not always of the type one expects.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Event;

/// Items kept of one list.
const MAX_LIST: usize = 10_000;
/// Entries kept of one file: one more than are read, so that too many are seen.
const MAX_EVENTS: usize = super::MAX_TALKS + 1;

/// A text, or what can be written as one; of an object of languages, its first text. Anything else is `None`.
#[derive(Debug, Default)]
pub struct Loose(pub Option<String>);

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = Loose;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_str<E>(self, text: &str) -> Result<Loose, E> {
                Ok(Loose((!text.is_empty()).then(|| text.to_owned())))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Loose, E> {
                Ok(Loose(Some(value.to_string())))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Loose, E> {
                Ok(Loose(Some(value.to_string())))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Loose, E> {
                Ok(Loose(Some(value.to_string())))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Loose, E> {
                Ok(Loose(Some(value.to_string())))
            }
            fn visit_unit<E>(self) -> Result<Loose, E> {
                Ok(Loose(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Loose, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Loose(None))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose, A::Error> {
                let mut first = None;
                while map.next_key::<IgnoredAny>()?.is_some() {
                    let value: Loose = map.next_value()?;
                    first = first.or(value.0);
                }
                Ok(Loose(first))
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}

/// An object, read as `T`; anything else is an empty one.
#[derive(Debug, Default)]
pub struct Fields<T>(pub T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Fields<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for AnyValue<T> {
            type Value = Fields<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_str<E>(self, _: &str) -> Result<Fields<T>, E> {
                Ok(Fields(T::default()))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Fields<T>, E> {
                Ok(Fields(T::default()))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Fields<T>, E> {
                Ok(Fields(T::default()))
            }
            fn visit_u64<E>(self, _: u64) -> Result<Fields<T>, E> {
                Ok(Fields(T::default()))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Fields<T>, E> {
                Ok(Fields(T::default()))
            }
            fn visit_unit<E>(self) -> Result<Fields<T>, E> {
                Ok(Fields(T::default()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Fields<T>, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Fields(T::default()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Fields<T>, A::Error> {
                T::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Fields)
            }
        }
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

/// A list; anything else is an empty one.
#[derive(Debug)]
pub struct List<T>(pub Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for AnyValue<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_str<E>(self, _: &str) -> Result<List<T>, E> {
                Ok(List::default())
            }
            fn visit_bool<E>(self, _: bool) -> Result<List<T>, E> {
                Ok(List::default())
            }
            fn visit_i64<E>(self, _: i64) -> Result<List<T>, E> {
                Ok(List::default())
            }
            fn visit_u64<E>(self, _: u64) -> Result<List<T>, E> {
                Ok(List::default())
            }
            fn visit_f64<E>(self, _: f64) -> Result<List<T>, E> {
                Ok(List::default())
            }
            fn visit_unit<E>(self) -> Result<List<T>, E> {
                Ok(List::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<List<T>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(List::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<List<T>, A::Error> {
                let mut out = Vec::new();
                while out.len() < MAX_LIST {
                    let Some(item) = seq.next_element()? else { return Ok(List(out)) };
                    out.push(item);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(List(out))
            }
        }
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

/// The rooms of a day: `{"Saal 1": [entry, ...], ...}`. Entries that name nothing are left out.
#[derive(Debug, Default)]
pub struct Rooms {
    /// In the order of the file.
    pub names: Vec<String>,
    /// Each with the place of its room in `names`.
    pub events: Vec<(usize, Event)>,
}

impl<'de> Deserialize<'de> for Rooms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = Rooms;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of rooms")
            }
            fn visit_unit<E>(self) -> Result<Rooms, E> {
                Ok(Rooms::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Rooms, A::Error> {
                // PHP writes an empty object as an empty list.
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Rooms::default())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rooms, A::Error> {
                let mut rooms = Rooms::default();
                while let Some(name) = map.next_key::<String>()? {
                    let before = rooms.events.len();
                    map.next_value_seed(Events { room: rooms.names.len(), out: &mut rooms.events })?;
                    if rooms.events.len() > before {
                        rooms.names.push(name);
                    }
                }
                Ok(rooms)
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}

struct Events<'a> {
    room: usize,
    out: &'a mut Vec<(usize, Event)>,
}

impl<'de> DeserializeSeed<'de> for Events<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Events<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while self.out.len() < MAX_EVENTS {
            let Some(Fields(event)) = seq.next_element::<Fields<Event>>()? else { return Ok(()) };
            let names = [&event.title, &event.guid, &event.id, &event.code];
            if names.iter().any(|text| text.0.is_some()) {
                self.out.push((self.room, event));
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
