//! Schemas of OpenAPI 3.0 and 3.1, as JSON Schema 2020-12 that stands by itself.
//!
//! What a schema refers to comes along as `$defs`, and nothing else of the document does. Keywords that
//! JSON Schema does not know, or that are not of the kind it asks for, stay behind: one bad schema must
//! not spoil a client's whole list.

mod keywords;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use cortex_plugin_sdk::json::{self, Json};
use serde_json::value::RawValue;

use crate::document::{Document, Object, flag, get, list, object, shown, text};
use crate::text::unique;
use keywords::Kind;

/// Deepest schema.
const MAX_DEPTH: usize = 32;
/// Largest definition, as the document has it, in bytes.
const MAX_DEFINITION: usize = 48 * 1024;
/// Definitions of one schema, in bytes: those that are nearest come first, what is beyond may be anything. In
/// many documents everything leads to everything, and a model has to read it.
const MAX_DEFINITIONS: usize = 16 * 1024;
/// Largest value that is shown as an example, in bytes.
const MAX_EXAMPLE: usize = 256;

/// Whether schemas say what is sent or what comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Sent,
    Returned,
}

/// A schema in which `#/$defs/…` stands for what it refers to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    /// The schema.
    pub(crate) json: Json,
    /// What it refers to, and whether a value meets that before anything of it is looked into.
    references: Vec<(String, bool)>,
}

impl Schema {
    /// One that refers to nothing.
    pub(crate) fn of(json: impl Into<Json>) -> Self {
        Self {
            json: json.into(),
            references: Vec::new(),
        }
    }
}

/// The schemas of one direction, each definition converted once.
pub(crate) struct Schemas<'a> {
    document: &'a Document<'a>,
    direction: Direction,
    /// By reference: the name among `$defs`.
    names: BTreeMap<String, String>,
    taken: BTreeSet<String>,
    /// By reference.
    known: BTreeMap<String, Result<Rc<Schema>, String>>,
}

impl<'a> Schemas<'a> {
    pub(crate) fn new(document: &'a Document<'a>, direction: Direction) -> Self {
        Self {
            document,
            direction,
            names: BTreeMap::new(),
            taken: BTreeSet::new(),
            known: BTreeMap::new(),
        }
    }

    /// One schema. `description` takes the place of its own.
    pub(crate) fn convert(
        &mut self,
        raw: &'a RawValue,
        description: Option<&str>,
    ) -> Result<Schema, String> {
        let mut schema = Schema::default();
        self.write(&mut schema, raw, description, true, MAX_DEPTH)?;
        Ok(schema)
    }

    /// Whether every value that fits is an object, as results of tools must be.
    pub(crate) fn is_object(&self, raw: &'a RawValue) -> bool {
        self.is_object_within(raw, 8)
    }

    fn is_object_within(&self, raw: &'a RawValue, hops: usize) -> bool {
        let Ok(members) = object(raw, "it") else {
            return false;
        };
        if hops == 0 || flag(&members, "nullable") {
            return false;
        }
        if let Some(reference) = text(&members, "$ref") {
            let found = self.document.resolve(&reference);
            return found.is_ok_and(|raw| self.is_object_within(raw, hops - 1));
        }
        match get(&members, "type") {
            Some(kind) => matches!(kind.get(), r#""object""# | r#"["object"]"#),
            None => {
                let mut all = list(&members, "allOf").into_iter().take(MAX_DEPTH);
                get(&members, "properties").is_some()
                    || all.any(|part| self.is_object_within(part, hops - 1))
            }
        }
    }

    /// The member `$defs` for these schemas, with a comma before it; empty if they refer to nothing.
    pub(crate) fn definitions(&mut self, schemas: &[Schema]) -> Result<String, String> {
        let references = schemas.iter().flat_map(|schema| &schema.references);
        let mut queue: VecDeque<String> = references.map(|(name, _)| name.clone()).collect();
        let mut seen = BTreeSet::new();
        let mut definitions = String::new();
        while let Some(reference) = queue.pop_front() {
            if !seen.insert(reference.clone()) {
                continue;
            }
            let schema = self.definition(&reference)?;
            let key = json::quote(&self.name(&reference));
            let comma = if definitions.is_empty() { "" } else { "," };
            if !definitions.is_empty() && definitions.len() + schema.json.len() > MAX_DEFINITIONS {
                definitions.push_str(&format!("{comma}{key}:{{}}"));
                continue;
            }
            definitions.push_str(&format!("{comma}{key}:{}", schema.json));
            queue.extend(schema.references.iter().map(|(name, _)| name.clone()));
        }
        self.check_founded(&seen)?;
        Ok(match definitions.is_empty() {
            true => definitions,
            false => format!(r#","$defs":{{{definitions}}}"#),
        })
    }

    /// Whoever checks a value must get to an end: no definition may be made of itself before something
    /// of the value was looked into.
    fn check_founded(&self, references: &BTreeSet<String>) -> Result<(), String> {
        let known = |name: &str| self.known.get(name).and_then(|known| known.as_ref().ok());
        // Those are taken away that lead to none that is left, until no more can be.
        let mut left: BTreeSet<&str> = references.iter().map(String::as_str).collect();
        loop {
            let rests_on_left = |name: &&str| {
                let schema = known(name);
                let references = schema.into_iter().flat_map(|schema| &schema.references);
                let mut in_place = references.filter(|(_, in_place)| *in_place);
                in_place.any(|(name, _)| left.contains(name.as_str()))
            };
            let next: BTreeSet<&str> = left.iter().copied().filter(rests_on_left).collect();
            if next.len() == left.len() {
                return match next.first() {
                    Some(name) => Err(format!("`{}` is made of itself", shown(name))),
                    None => Ok(()),
                };
            }
            left = next;
        }
    }

    fn definition(&mut self, reference: &str) -> Result<Rc<Schema>, String> {
        if let Some(known) = self.known.get(reference) {
            return known.clone();
        }
        let raw = self.document.resolve(reference);
        let schema = raw.and_then(|raw| match raw.get().len() > MAX_DEFINITION {
            true => Ok(Schema::of("{}")),
            false => self.convert(raw, None),
        });
        let schema = schema.map(Rc::new);
        self.known.insert(reference.to_owned(), schema.clone());
        schema
    }

    fn name(&mut self, reference: &str) -> String {
        if let Some(name) = self.names.get(reference) {
            return name.clone();
        }
        let last = reference.rsplit('/').next().unwrap_or_default();
        let name = unique(last, &mut self.taken);
        self.names.insert(reference.to_owned(), name.clone());
        name
    }

    /// Writes one schema. `in_place`: it is about the whole value, not about a part of it.
    fn write(
        &mut self,
        to: &mut Schema,
        raw: &'a RawValue,
        description: Option<&str>,
        in_place: bool,
        depth: usize,
    ) -> Result<(), String> {
        if matches!(raw.get(), "true" | "false") {
            to.json.push_str(raw.get());
            return Ok(());
        }
        let Some(depth) = depth.checked_sub(1) else {
            return Err(format!("its schema is deeper than {MAX_DEPTH} levels"));
        };
        let members = object(raw, "a schema")?;
        // Without a `type` to add to, `null` is an alternative.
        let parts = ["$ref", "allOf", "anyOf", "oneOf"];
        let or_null = flag(&members, "nullable")
            && text(&members, "type").is_none()
            && parts.iter().any(|part| get(&members, part).is_some());
        if or_null {
            to.json.push_str(r#"{"anyOf":["#);
        }
        to.json.push('{');
        let begin = to.json.len();
        if let Some(description) = description {
            member(to, begin, "description", &json::quote(description));
        }
        let refers = get(&members, "$ref").is_some();
        for (name, value) in &members {
            let overridden = name == "description" && description.is_some();
            let ignored =
                self.document.is_3_0 && refers && !matches!(&**name, "$ref" | "description");
            if !overridden && !ignored {
                self.keyword(to, begin, (name, value), &members, in_place, depth)?;
            }
        }
        to.json.push('}');
        if or_null {
            to.json.push_str(r#",{"type":"null"}]}"#);
        }
        Ok(())
    }

    /// Writes one keyword of a schema, or leaves it out.
    fn keyword(
        &mut self,
        to: &mut Schema,
        begin: usize,
        (name, value): (&str, &'a RawValue),
        members: &Object<'a>,
        in_place: bool,
        depth: usize,
    ) -> Result<(), String> {
        let simple = match keywords::kind(name, value.get()) {
            Kind::Reference => {
                let reference: String =
                    serde_json::from_str(value.get()).map_err(|_| "`$ref` is not a text")?;
                let pointer = format!("#/$defs/{}", self.name(&reference));
                to.references.push((reference, in_place));
                Some(json::quote(&pointer))
            }
            Kind::Schema { about_parts } => {
                member(to, begin, name, "");
                return self.write(to, value, None, in_place && !about_parts, depth);
            }
            Kind::Schemas { about_parts } => {
                let all: Vec<&RawValue> =
                    serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
                member(to, begin, name, "[");
                for (at, raw) in all.into_iter().enumerate() {
                    if at > 0 {
                        to.json.push(',');
                    }
                    self.write(to, raw, None, in_place && !about_parts, depth)?;
                }
                to.json.push(']');
                None
            }
            Kind::Named => {
                member(to, begin, name, "{");
                let inside = to.json.len();
                for (name, raw) in object(value, &format!("`{name}`"))? {
                    if !self.hides(raw) {
                        member(to, inside, &name, "");
                        self.write(to, raw, None, false, depth)?;
                    }
                }
                to.json.push('}');
                None
            }
            Kind::Required => {
                let properties = get(members, "properties").map(|raw| object(raw, "it"));
                let properties = properties.and_then(Result::ok).unwrap_or_default();
                let mut names: Vec<String> = serde_json::from_str(value.get()).unwrap_or_default();
                names.retain(|name| !get(&properties, name).is_some_and(|raw| self.hides(raw)));
                (!names.is_empty()).then(|| serde_json::to_string(&names).unwrap_or_default())
            }
            Kind::Example if value.get().len() > MAX_EXAMPLE => None,
            Kind::Example => {
                if get(members, "examples").is_none() {
                    member(to, begin, "examples", &format!("[{}]", value.get()));
                }
                None
            }
            Kind::Other => keywords::value(name, value.get(), members),
        };
        if let Some(json) = simple {
            member(to, begin, name, &json);
        }
        Ok(())
    }

    /// Whether a property goes the other way only.
    fn hides(&self, property: &RawValue) -> bool {
        let name = match self.direction {
            Direction::Sent => "readOnly",
            Direction::Returned => "writeOnly",
        };
        property.get().contains(name)
            && object(property, "it").is_ok_and(|members| flag(&members, name))
    }
}

/// Begins a member of the object whose first member is, or will be, at `begin`.
fn member(to: &mut Schema, begin: usize, name: &str, value: &str) {
    if to.json.len() > begin {
        to.json.push(',');
    }
    to.json.push_str(&json::quote(name));
    to.json.push(':');
    to.json.push_str(value);
}
