//! The parts that submissions and entries share: documents, components, results, fees.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use lgsp_proto::types::{FileName, MediaType, Sha256Digest, Text};
use lgsp_proto::{Wrong, v1};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::Fields;
use super::whole::{whole, whole_or_null};

/// A document, named by its content. Upload it first with `POST /v1/documents`.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Document)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DocumentJson {
    /// SHA-256 of the content, 64 hexadecimal digits. Compulsory.
    #[schema(required, nullable = false)]
    pub(crate) sha256: Option<String>,
    /// The content's length. Compulsory.
    #[schema(required, nullable = false)]
    #[serde(deserialize_with = "whole_or_null")]
    pub(crate) size_bytes: Option<u64>,
    /// E.g. `application/pdf`. Compulsory.
    #[schema(required, nullable = false)]
    pub(crate) media_type: Option<String>,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_name: Option<String>,
    /// In a request of a watched folder only: the file beside it, which says digest and length by itself.
    #[serde(skip_serializing)]
    #[schema(ignore)]
    pub(crate) file: Option<String>,
}

/// A paper or data item of the dossier (thành phần hồ sơ).
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Component)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ComponentJson {
    /// The component's code in the registry's procedure; left out for a free one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Left out for paper that was not digitised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document: Option<DocumentJson>,
    /// How many originals.
    #[serde(deserialize_with = "whole")]
    pub(crate) originals: u32,
    /// How many copies.
    #[serde(deserialize_with = "whole")]
    pub(crate) copies: u32,
}

/// One result paper.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = ResultPaper)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ResultJson {
    /// The result's code (MaGiayToKetQua), where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The paper itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) document: Option<DocumentJson>,
}

/// One fee or charge.
#[derive(Clone, Default, Deserialize, Serialize, ToSchema)]
#[schema(as = Fee)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FeeJson {
    /// Its code, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Whole đồng.
    #[serde(deserialize_with = "whole")]
    pub(crate) amount_vnd: u64,
}

impl DocumentJson {
    pub(super) fn into_proto(self, path: &str, fields: &mut Fields) -> v1::DocumentRef {
        let sha256 = fields.required::<Sha256Digest>(&format!("{path}.sha256"), self.sha256.as_deref());
        if self.size_bytes.is_none() {
            fields.problem(&format!("{path}.size_bytes"), Wrong::missing());
        }
        let media_type = fields.required::<MediaType>(&format!("{path}.media_type"), self.media_type.as_deref());
        let file_name = fields.optional::<FileName>(&format!("{path}.file_name"), self.file_name.as_deref());
        if self.file.is_some() {
            fields.problem(
                &format!("{path}.file"),
                Wrong::new(
                    "chỉ dùng cho yêu cầu trong thư mục theo dõi; hãy tải tài liệu lên trước",
                    "is for requests in a watched folder; upload the document first",
                ),
            );
        }
        v1::DocumentRef {
            sha256: sha256.map_or_else(Bytes::new, |digest| Bytes::copy_from_slice(digest.as_bytes())),
            size_bytes: self.size_bytes.unwrap_or_default(),
            media_type: media_type.map_or_else(String::new, |media_type| media_type.as_str().to_owned()),
            file_name: file_name.map_or_else(String::new, |file_name| file_name.as_str().to_owned()),
        }
    }

    pub(super) fn from_proto(document: v1::DocumentRef) -> Self {
        Self {
            sha256: Some(HEXLOWER.encode(&document.sha256)),
            size_bytes: Some(document.size_bytes),
            media_type: text(document.media_type),
            file_name: text(document.file_name),
            file: None,
        }
    }
}

impl ComponentJson {
    pub(super) fn into_proto(self, path: &str, fields: &mut Fields) -> v1::Component {
        v1::Component {
            code: short(fields, &format!("{path}.code"), self.code),
            name: long(fields, &format!("{path}.name"), self.name),
            document: self.document.map(|document| document.into_proto(&format!("{path}.document"), fields)),
            originals: self.originals,
            copies: self.copies,
        }
    }

    pub(super) fn from_proto(component: v1::Component) -> Self {
        Self {
            code: text(component.code),
            name: text(component.name),
            document: component.document.map(DocumentJson::from_proto),
            originals: component.originals,
            copies: component.copies,
        }
    }
}

impl ResultJson {
    pub(super) fn into_proto(self, path: &str, fields: &mut Fields) -> v1::Result {
        v1::Result {
            code: short(fields, &format!("{path}.code"), self.code),
            name: long(fields, &format!("{path}.name"), self.name),
            document: self.document.map(|document| document.into_proto(&format!("{path}.document"), fields)),
        }
    }

    pub(super) fn from_proto(result: v1::Result) -> Self {
        Self {
            code: text(result.code),
            name: text(result.name),
            document: result.document.map(DocumentJson::from_proto),
        }
    }
}

impl FeeJson {
    pub(super) fn into_proto(self, path: &str, fields: &mut Fields) -> v1::Fee {
        v1::Fee {
            code: short(fields, &format!("{path}.code"), self.code),
            name: long(fields, &format!("{path}.name"), self.name),
            amount_vnd: self.amount_vnd,
        }
    }

    pub(super) fn from_proto(fee: v1::Fee) -> Self {
        Self { code: text(fee.code), name: text(fee.name), amount_vnd: fee.amount_vnd }
    }
}

/// The documents that components name, each with its path.
pub(super) fn documents_of(components: &mut [ComponentJson]) -> Vec<(String, &mut DocumentJson)> {
    let numbered = components.iter_mut().enumerate();
    numbered
        .filter_map(|(number, component)| {
            Some((format!("components[{number}].document"), component.document.as_mut()?))
        })
        .collect()
}

/// Reads each element of a list, under its own path.
pub(super) fn each<T, P>(
    path: &str,
    list: Vec<T>,
    fields: &mut Fields,
    read: impl Fn(T, &str, &mut Fields) -> P,
) -> Vec<P> {
    let numbered = list.into_iter().enumerate();
    numbered.map(|(number, element)| read(element, &format!("{path}[{number}]"), fields)).collect()
}

/// An empty text of the wire is an absent one here.
pub(super) fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A code or short name that may be left out.
pub(super) fn short(fields: &mut Fields, field: &str, text: Option<String>) -> String {
    bounded::<100>(fields, field, text)
}

/// A text of some sentences that may be left out.
pub(super) fn long(fields: &mut Fields, field: &str, text: Option<String>) -> String {
    bounded::<2000>(fields, field, text)
}

/// As [`long`], but the law wants it.
pub(super) fn compulsory(fields: &mut Fields, field: &str, text: Option<String>) -> String {
    if text.as_deref().is_none_or(str::is_empty) {
        fields.problem(field, Wrong::missing());
    }
    long(fields, field, text)
}

pub(super) fn bounded<const MAX: usize>(fields: &mut Fields, field: &str, text: Option<String>) -> String {
    // An empty string means the same as nothing, as on the wire.
    let text = text.filter(|text| !text.is_empty());
    fields.optional::<Text<MAX>>(field, text.as_deref());
    text.unwrap_or_default()
}
