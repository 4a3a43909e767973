//! What is told when everything runs, and when it is the developer's turn: where what is, and commands to copy.
//!
//! Every command works as it is printed, in the order in which they stand; a test runs them. What a command is made of stands
//! on lines that are indented by two blanks, and nothing else does.

use anyhow::Context as _;
use jiff::SignedDuration;
use lgsp_domain::transition::Act;
use lgsp_proto::types::BusinessTime;
use serde_json::{Value, json};

use super::people::Role;
use super::place::{CENTRE, DEVELOPER, NEIGHBOURS_UNIT};
use super::scenario::Scenario;
use super::story::Story;
use crate::lang::Lang;

/// What is asked for in the scenario `fee`.
pub(super) const FEE_VND: u32 = 8_000;
/// The developer's clerk in the printed commands.
const CLERK: &str = "cb01";
const DAY: i64 = 24 * 3600;

/// Where everything is, as far as the developer has to know.
#[derive(Clone)]
pub(super) struct Guide {
    pub(super) lang: Lang,
    pub(super) role: Role,
    /// The developer's adapter and the sandbox's own port, as URLs.
    pub(super) api: String,
    pub(super) control: String,
    pub(super) gateway: String,
    pub(super) webhook: Option<String>,
    pub(super) secret: String,
    pub(super) folder: String,
    pub(super) goes_with_us: bool,
    /// How this program was called, and the profile for its commands.
    pub(super) program: String,
    pub(super) profile: String,
}

impl Guide {
    /// The page for people.
    pub(super) fn page(&self, scenario: &str) -> String {
        let Self { lang, api, control, gateway, folder, program, profile, .. } = self;
        let lang = *lang;
        let stays = match self.goes_with_us {
            true => lang.pick("xoá khi dừng; --dir để giữ lại", "removed at the end; --dir keeps it"),
            false => lang.pick("được giữ lại; lần sau chạy tiếp", "stays; the next start goes on from it"),
        };
        let coming_in = match &self.webhook {
            Some(url) => lang.pick(
                format!("gửi đến {url}, có ký; khoá kiểm tra chữ ký: {}", self.secret),
                format!("posted to {url}, signed; the secret to check it with: {}", self.secret),
            ),
            None => lang.pick(
                "chờ ở GET /v1/inbox; --webhook URL để được gửi đến".to_owned(),
                "waits at GET /v1/inbox; --webhook URL has it posted".to_owned(),
            ),
        };
        let mut page = lang.pick(
            format!(
                "Sandbox đã sẵn sàng. Ctrl-C để dừng.\n\n\
                 - bộ kết nối của bạn   {api}  thay mặt {DEVELOPER} (UBND phường Phú Xuân), không cần mã truy cập\n\
                 - mô tả OpenAPI 3.1    {api}/v1/openapi.json\n\
                 - việc đến             {coming_in}\n\
                 - trục                 {gateway}\n\
                 - giả lập              mọi cơ quan khác của Huế; mã cơ quan là mã minh hoạ, không có dữ liệu thật\n\
                 - kịch bản             {scenario}; mỗi hồ sơ theo kịch bản lúc nó được nộp\n\
                 - thư mục              {folder}  ({stays})\n\n\
                 Chép vào một cửa sổ khác:\n\n"
            ),
            format!(
                "The sandbox is ready. Ctrl-C ends it.\n\n\
                 - your adapter         {api}  acts for {DEVELOPER} (People's Committee of Phu Xuan Ward), no token\n\
                 - OpenAPI 3.1          {api}/v1/openapi.json\n\
                 - what comes in        {coming_in}\n\
                 - the gateway          {gateway}\n\
                 - simulated            every other agency of Hue; identifiers are illustrative, nothing is real data\n\
                 - scenario             {scenario}; a dossier keeps the one under which it was handed in\n\
                 - folder               {folder}  ({stays})\n\n\
                 Copy into another window:\n\n"
            ),
        );
        match self.role {
            Role::Desk => page.push_str(&self.desk()),
            Role::Authority => page.push_str(&self.authority()),
        }
        page.push_str(&lang.pick(
            format!(
                "Đổi kịch bản cho những hồ sơ nộp từ lúc đó (danh sách: {program} sandbox --list)\n\
                 \x20 curl -s -X POST {control}/scenario/supplement\n\
                 \x20 curl -s {control}/scenario\n\
                 \x20 curl -s -X POST {control}/scenario/{scenario}\n\
                 Vết của hồ sơ, như người vận hành thấy\n\
                 \x20 {program} dossier show \"$CODE\" --profile {profile}\n\n\
                 Diễn biến của từng hồ sơ hiện ở dưới đây.\n\n"
            ),
            format!(
                "Change the scenario of what is handed in from then on (all of them: {program} sandbox --list)\n\
                 \x20 curl -s -X POST {control}/scenario/supplement\n\
                 \x20 curl -s {control}/scenario\n\
                 \x20 curl -s -X POST {control}/scenario/{scenario}\n\
                 The dossier's trail, as an operator sees it\n\
                 \x20 {program} dossier show \"$CODE\" --profile {profile}\n\n\
                 What happens to each dossier shows below.\n\n"
            ),
        ));
        page
    }

    /// The same for programs.
    pub(super) fn facts(&self, scenario: &str) -> Value {
        json!({
            "rest": self.api, "openapi": format!("{}/v1/openapi.json", self.api), "control": self.control,
            "gateway": self.gateway, "party": DEVELOPER, "scenario": scenario, "folder": self.folder,
            "webhook": self.webhook, "webhook_secret_file": self.secret, "profile": self.profile,
        })
    }

    fn desk(&self) -> String {
        let Self { lang, api, .. } = self;
        let body = format!(
            "{{ \"procedure_code\": \"1.001193\", \"locality\": \"{NEIGHBOURS_UNIT}\", \"return_desk\": \"{CENTRE}\",\n    \
             \"applicant\": {{ \"kind\": \"citizen\", \"full_name\": \"Nguyễn Thị Thử\", \"personal_number\": \"046190000001\" }},\n    \
             \"intake_channel\": \"direct\", \"return_channel\": \"direct\",\n    \
             \"components\": [{{ \"code\": \"to-khai\", \"originals\": 1, \"document\": '\"$DOC\"' }}] }}"
        );
        format!(
            "{}\n  KEY=ho-so-$(date +%s)\n  \
             DOC=$(printf 'Tờ khai thử %s' \"$KEY\" | curl -s '{api}/v1/documents?file_name=to-khai.txt' \\\n    \
             -H 'LGSP-Party: {DEVELOPER}' -H 'Content-Type: text/plain' --data-binary @-)\n  \
             echo \"$DOC\"\n\
             {}\n  curl -s {api}/v1/dossiers -H 'LGSP-Party: {DEVELOPER}' -H 'LGSP-Actor: {CLERK}' \\\n    \
             -H \"Idempotency-Key: $KEY\" -d '{body}'\n\
             {}\n  curl -s \"{api}/v1/requests/$KEY?wait_ms=5000\" -H 'LGSP-Party: {DEVELOPER}'\n\
             {}\n  CODE=$(curl -s \"{api}/v1/requests/$KEY\" -H 'LGSP-Party: {DEVELOPER}' \\\n    \
             | sed -n 's/.*\"dossier_code\": *\"\\([^\"]*\\)\".*/\\1/p')\n  \
             curl -s {api}/v1/dossiers/$CODE -H 'LGSP-Party: {DEVELOPER}' -H 'LGSP-Actor: {CLERK}'\n\
             {}",
            lang.pick("1. Tải một giấy tờ lên; câu trả lời nêu tên nó", "1. Upload a document; the answer names it"),
            lang.pick(
                "2. Nộp hồ sơ: đăng ký khai sinh, thuộc UBND phường Kim Long",
                "2. Hand in a dossier: a birth that Kim Long Ward has to register",
            ),
            lang.pick(
                "3. Hỏi kết quả của yêu cầu: mã hồ sơ, ngày hẹn trả, biên nhận có ký",
                "3. Ask what became of the request: code, due date, signed receipt",
            ),
            lang.pick("4. Xem hồ sơ", "4. Look at the dossier"),
            self.incoming(),
        )
    }

    fn authority(&self) -> String {
        let Self { lang, api, control, .. } = self;
        format!(
            "{}\n  curl -s -X POST {control}/dossiers\n\
             {}\
             {}\n  CODE=$(curl -s '{api}/v1/dossiers?page_size=1' -H 'LGSP-Party: {DEVELOPER}' -H 'LGSP-Actor: {CLERK}' \\\n    \
             | sed 's/.*\"code\": *\"\\([^\"]*\\)\".*/\\1/')\n  \
             curl -s {api}/v1/dossiers/$CODE -H 'LGSP-Party: {DEVELOPER}' -H 'LGSP-Actor: {CLERK}'\n\
             {}\n  curl -s {api}/v1/dossiers/$CODE/events -H 'LGSP-Party: {DEVELOPER}' -H 'LGSP-Actor: {CLERK}' \\\n    \
             -H \"Idempotency-Key: tiep-nhan-$CODE\" -d '{{ \"type\": \"accepted\", \"occurred_at\": \"'\"$(date -u +%FT%TZ)\"'\" }}'\n",
            lang.pick(
                "1. Một nơi tiếp nhận giả lập nộp hồ sơ cho bạn",
                "1. A simulated desk hands in a dossier for you"
            ),
            self.incoming(),
            lang.pick("3. Xem hồ sơ mới nhất", "3. Look at the latest dossier"),
            lang.pick(
                "4. Tiếp nhận; lệnh cho bước kế tiếp hiện ở dưới khi đến lượt bạn",
                "4. Accept it; the command for the next step shows below when it is your turn",
            ),
        )
    }

    /// How to see what comes in.
    fn incoming(&self) -> String {
        let Self { lang, api, .. } = self;
        let number = if self.role == Role::Desk { 5 } else { 2 };
        match &self.webhook {
            None => format!(
                "{number}. {}\n  curl -s '{api}/v1/inbox?wait_ms=30000' -H 'LGSP-Party: {DEVELOPER}'\n",
                lang.pick(
                    "Đọc việc đến; còn đến lại cho tới khi POST /v1/inbox/ack",
                    "Read what comes in; it comes again until POST /v1/inbox/ack",
                ),
            ),
            Some(_) => format!(
                "{number}. {}\n  curl -s '{api}/v1/webhooks/attempts?party={DEVELOPER}' -H 'LGSP-Party: {DEVELOPER}'\n",
                lang.pick("Những lần gửi đến webhook của bạn", "What was posted to your webhook"),
            ),
        }
    }

    /// The command by which the developer does `act`. Its time stands in it, so that it may be repeated as it is.
    ///
    /// # Errors
    /// The calendar ends.
    pub(super) fn answer(&self, act: Act, story: &Story, at: BusinessTime) -> anyhow::Result<String> {
        let (api, code, scenario) = (&self.api, &story.last.dossier_code, story.last.scenario);
        let later =
            |from: BusinessTime, seconds| from.checked_add(SignedDuration::from_secs(seconds)).context("too late");
        // A term that is to run out is over at once; a result that is to be late comes after its date.
        let (term, at) = match (act, scenario) {
            (Act::RequestSupplement, Scenario::Expired) => (later(at, 1)?, at),
            (Act::ExpireSupplement, Scenario::Expired) => (at, later(at, 2)?),
            (Act::Resolve, Scenario::Late) => (at, later(story.due().unwrap_or(at).max(at), DAY)?),
            _ => (later(at, 7 * DAY)?, at),
        };
        let mut body = match act {
            Act::ProvideSupplement => json!({"components": [{"name": "Giấy chứng sinh", "copies": 1}]}),
            Act::ConfirmPayment => json!({"payment_reference": format!("PT-{code}"), "amount_vnd": FEE_VND}),
            Act::ReturnResult => json!({"channel": story.last.matter.return_channel}),
            Act::Withdraw => json!({"reason": "Công dân đổi ý"}),
            Act::Refuse => json!({"reason": "Thiếu căn cứ"}),
            Act::Stop | Act::RecallResult | Act::ExpireSupplement => {
                json!({"reason": "Theo đề nghị của phòng chuyên môn"})
            }
            Act::RequestSupplement => json!({
                "reason": "Thiếu Giấy chứng sinh", "items": ["Giấy chứng sinh"],
                "until": term.to_string(),
            }),
            Act::RequestFee => json!({"fees": [{"code": "LP", "name": "Lệ phí", "amount_vnd": FEE_VND}]}),
            Act::Resolve => json!({"results": [{"name": "Giấy khai sinh"}]}),
            Act::Extend => {
                let new_due = later(story.due().unwrap_or(at), 7 * DAY)?;
                json!({"reason": "Cần xác minh thêm", "new_due_at": new_due.to_string()})
            }
            Act::Pause => json!({"cause": "expertise"}),
            Act::Resume => json!({"cause": "expertise"}),
            Act::Progress => json!({"step": "Thẩm định"}),
            Act::Submit | Act::Accept | Act::StartProcessing => json!({}),
        };
        body["type"] = act.as_str().into();
        body["occurred_at"] = at.to_string().into();
        Ok(format!(
            "curl -s {api}/v1/dossiers/{code}/events -H 'LGSP-Party: {DEVELOPER}' -H 'LGSP-Actor: {CLERK}' \
             -H 'Idempotency-Key: {}-{code}-{}' -d '{body}'",
            act.as_str().replace('_', "-"),
            story.last.sequence + 1,
        ))
    }
}
