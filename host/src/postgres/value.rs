//! Values as text.

use std::error::Error;

use bytes::BytesMut;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, PrimitiveDateTime};
use tokio_postgres::Row;
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type};
use uuid::Uuid;

/// A value of whatever type, as the text that PostgreSQL reads; `None` is NULL.
#[derive(Debug)]
pub(super) struct Text<'a>(pub(super) Option<&'a str>);

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    fn to_sql_checked(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(ty, out)
    }
}

/// The values of a row.
///
/// # Errors
/// Names a column of a type that has no text here.
pub(super) fn texts(row: &Row) -> Result<Vec<Option<String>>, String> {
    (0..row.len()).map(|at| text(row, at)).collect()
}

fn text(row: &Row, at: usize) -> Result<Option<String>, String> {
    let column = &row.columns()[at];
    let told = |error: tokio_postgres::Error| format!("column `{}`: {error}", column.name());
    fn as_text<'a, T: FromSql<'a>>(
        row: &'a Row,
        at: usize,
        write: impl Fn(T) -> String,
    ) -> Result<Option<String>, tokio_postgres::Error> {
        Ok(row.try_get::<_, Option<T>>(at)?.map(write))
    }
    let found = match *column.type_() {
        Type::BOOL => as_text(row, at, |value: bool| value.to_string()),
        Type::INT2 => as_text(row, at, |value: i16| value.to_string()),
        Type::INT4 => as_text(row, at, |value: i32| value.to_string()),
        Type::INT8 => as_text(row, at, |value: i64| value.to_string()),
        Type::FLOAT4 => as_text(row, at, |value: f32| value.to_string()),
        Type::FLOAT8 => as_text(row, at, |value: f64| value.to_string()),
        Type::UUID => as_text(row, at, |value: Uuid| value.to_string()),
        Type::DATE => as_text(row, at, |value: Date| value.to_string()),
        Type::TIMESTAMPTZ => as_text(row, at, |value: OffsetDateTime| {
            value.format(&Rfc3339).unwrap_or_default()
        }),
        Type::TIMESTAMP => as_text(row, at, |value: PrimitiveDateTime| value.to_string()),
        Type::JSON | Type::JSONB => as_text(row, at, |value: Json| value.0),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN => {
            as_text(row, at, |value: String| value)
        }
        // `SELECT` of nothing, such as that of a function that returns none.
        Type::VOID => return Ok(None),
        ref other => {
            return Err(format!(
                "column `{}` is of type `{}`: cast it to `text`",
                column.name(),
                other.name()
            ));
        }
    };
    found.map_err(told)
}

/// JSON as it was written, or as the database writes it.
struct Json(String);

impl<'a> FromSql<'a> for Json {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        // The binary form of `jsonb` begins with its version.
        let raw = match *ty {
            Type::JSONB => raw
                .strip_prefix(&[1])
                .ok_or("an unknown version of jsonb")?,
            _ => raw,
        };
        Ok(Self(std::str::from_utf8(raw)?.to_owned()))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::JSON | Type::JSONB)
    }
}
