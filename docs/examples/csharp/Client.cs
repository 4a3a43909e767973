// A desk's system in small: hands a dossier in, and takes what comes back. .NET's own library only.
//
//   submit RECORD DOCUMENT     hand in; the same record again goes on where it stood
//   receive CODE               take events over until this dossier has ended
//
// What must survive a crash is in the folder store/: key and bytes of a request before they are sent, an event before it is acknowledged.
// LGSP_API, LGSP_PARTY, LGSP_ACTOR and LGSP_TOKEN_FILE say where the adapter is, who calls, and with which token.
using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Threading.Tasks;

static class Client
{
    static readonly string Api = Setting("LGSP_API", "http://127.0.0.1:8480");
    static readonly HttpClient Http = new HttpClient { Timeout = TimeSpan.FromSeconds(60) };
    static readonly string Requests = Path.Combine("store", "requests"), Events = Path.Combine("store", "events");
    static readonly HashSet<string> Ended = new HashSet<string> { "returned", "refused", "withdrawn", "stopped", "supplement_expired" };

    /// <summary>The adapter or the gateway will not have it. The reason is stable; sentences are for people.</summary>
    class Refused : Exception
    {
        public readonly JsonElement Problem;
        public Refused(JsonElement problem) : base(problem.GetProperty("title").GetString()) { Problem = problem; }
        public string Reason { get { return Problem.GetProperty("reason").GetString(); } }
    }

    /// <summary>Nobody knows what became of it, or it is "not now"; the same command goes on later.</summary>
    class Unanswered : Exception { }

    static int Main(string[] args) { return Run(args).GetAwaiter().GetResult(); }

    static async Task<int> Run(string[] args)
    {
        Directory.CreateDirectory(Requests);
        Directory.CreateDirectory(Events);
        try
        {
            if (args.Length == 3 && args[0] == "submit") await Submit(args[1], args[2]);
            else if (args.Length == 2 && args[0] == "receive") await Receive(args[1]);
            else throw new ArgumentException("submit RECORD DOCUMENT | receive CODE");
            return 0;
        }
        catch (Refused refusal) { Console.Error.WriteLine(Advice(refusal)); }
        catch (Unanswered) { Console.Error.WriteLine("the adapter does not answer; run the same command again later"); }
        catch (ArgumentException error) { Console.Error.WriteLine(error.Message); }
        return 1;
    }

    static async Task Submit(string record, string document)
    {
        var number = 1;
        while (Read(Path.Combine(Requests, record + "-" + number + ".state")) == "refused") number++;
        string key = record + "-" + number, request = Path.Combine(Requests, key + ".json"), state = Path.Combine(Requests, key + ".state");
        if (Read(state).StartsWith("admitted "))
        {
            Console.WriteLine(record + ": " + Read(state).Substring(9) + ", admitted before");
            return;
        }
        var name = Uri.EscapeDataString(Path.GetFileName(document));
        var uploaded = await Call("/v1/documents?file_name=" + name, File.ReadAllBytes(document), "application/pdf");
        // If it is there, we do not know what became of it: the same bytes under the same key.
        if (!File.Exists(request)) Keep(request, Dossier(uploaded));
        try
        {
            await Call("/v1/dossiers", File.ReadAllBytes(request), "application/json", key);
        }
        catch (Refused refusal)
        {
            if (!await IsKnown(key)) // else it was taken in the time before, and this says nothing about it
            {
                EndWith(refusal, state);
                throw;
            }
        }
        JsonElement outcome;
        while (true)
        {
            outcome = await Call("/v1/requests/" + key + "?wait_ms=30000");
            var stands = outcome.GetProperty("state").GetString();
            if (stands == "admitted") break;
            if (stands == "refused")
            {
                var refusal = new Refused(outcome.GetProperty("problem"));
                EndWith(refusal, state);
                throw refusal;
            }
            Console.Error.WriteLine("it is safe with the adapter and waits for the line");
        }
        JsonElement due;
        outcome.GetProperty("receipt").TryGetProperty("due_at", out due);
        Keep(state, "admitted " + outcome.GetProperty("dossier_code").GetString());
        Console.WriteLine(record + ": " + outcome.GetProperty("dossier_code").GetString() + ", due " + due);
    }

    static async Task<bool> IsKnown(string key)
    {
        try
        {
            await Call("/v1/requests/" + key);
            return true;
        }
        catch (Refused refusal)
        {
            if (refusal.Reason != "REQUEST_NOT_FOUND") throw;
            return false;
        }
    }

    /// <summary>A refused request is over, and its record free for a new key: but not when the key is of a request that may be this one.</summary>
    static void EndWith(Refused refusal, string state) { if (refusal.Reason != "KEY_REUSED") Keep(state, "refused"); }

    /// <summary>What to do is decided by the reason. Whatever is corrected goes under a new key: Submit takes one.</summary>
    static string Advice(Refused refusal)
    {
        switch (refusal.Reason)
        {
            case "FIELD_INVALID": return "a clerk has to correct: " + refusal.Problem.GetProperty("fields");
            case "KEY_REUSED": return "another request has this key, perhaps this very dossier from before; look for it before anything is handed in again";
            default: return refusal.Reason + ": " + refusal.Message + " " + refusal.Problem.GetProperty("remedy");
        }
    }

    /// <summary>In earnest this is filled from your own record, the time too: written here, it is the same however often it is sent.</summary>
    static string Dossier(JsonElement document)
    {
        return @"{ ""procedure_code"": ""1.001193"", ""locality"": ""19774"", ""return_desk"": ""H57.TT"",
  ""received_at"": """ + DateTime.UtcNow.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture) + @""",
  ""applicant"": { ""kind"": ""citizen"", ""full_name"": ""Nguyễn Thị Thử"", ""personal_number"": ""046190000001"" },
  ""intake_channel"": ""direct"", ""return_channel"": ""direct"",
  ""components"": [{ ""code"": ""to-khai"", ""originals"": 1, ""document"": " + document.GetRawText() + " }] }";
    }

    static async Task Receive(string code)
    {
        while (!HasEnded(code))
        {
            var inbox = await Call("/v1/inbox?wait_ms=30000");
            foreach (var delivery in inbox.GetProperty("deliveries").EnumerateArray())
            {
                string dossier = delivery.GetProperty("dossier_code").GetString(), sequence = delivery.GetProperty("sequence").GetRawText();
                var name = dossier + " " + sequence + " " + delivery.GetProperty("event").GetProperty("type").GetString();
                // An event that comes again finds its file there and has no effect.
                if (!File.Exists(Path.Combine(Events, name)))
                {
                    Keep(Path.Combine(Events, name), delivery.GetRawText());
                    Console.WriteLine(name);
                }
                var named = "{ \"deliveries\": [{ \"dossier_code\": \"" + dossier + "\", \"sequence\": " + sequence + " }] }";
                await Call("/v1/inbox/ack", Encoding.UTF8.GetBytes(named), "application/json");
            }
        }
    }

    static bool HasEnded(string code)
    {
        var words = Directory.GetFiles(Events).Select(file => Path.GetFileName(file).Split(' '));
        return words.Any(word => word.Length == 3 && word[0] == code && Ended.Contains(word[2]));
    }

    /// <summary>One call, repeated while the outcome is unknown or "not now": that is safe, because the key is the same.</summary>
    static async Task<JsonElement> Call(string path, byte[] body = null, string type = null, string key = null)
    {
        for (var attempt = 0; attempt < 6; attempt++)
        {
            string why;
            try
            {
                var request = new HttpRequestMessage(body == null ? HttpMethod.Get : HttpMethod.Post, Api + path);
                request.Headers.Add("LGSP-Party", Setting("LGSP_PARTY", "H57.101"));
                request.Headers.Add("LGSP-Actor", Setting("LGSP_ACTOR", "cb01"));
                if (key != null) request.Headers.Add("Idempotency-Key", key);
                var token = Setting("LGSP_TOKEN_FILE", "");
                if (token != "") request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", File.ReadAllText(token).Trim());
                if (body != null)
                {
                    request.Content = new ByteArrayContent(body);
                    request.Content.Headers.ContentType = new MediaTypeHeaderValue(type);
                }
                using (var answer = await Http.SendAsync(request))
                {
                    var text = await answer.Content.ReadAsStringAsync();
                    var status = (int)answer.StatusCode;
                    if (status < 300) return JsonDocument.Parse(text).RootElement;
                    if (status != 429 && status < 500) throw new Refused(JsonDocument.Parse(text).RootElement);
                    why = status.ToString();
                }
            }
            catch (HttpRequestException error) { why = error.Message; } // no connection, or it broke off before the answer
            catch (TaskCanceledException error) { why = error.Message; }
            Console.Error.WriteLine("not yet (" + why + ")");
            await Task.Delay(200 << attempt);
        }
        throw new Unanswered();
    }

    /// <summary>Writes a file that is whole or not there. Its content is on disk; its name outlives a kill, but .NET cannot promise that for a power cut.</summary>
    static void Keep(string path, string text)
    {
        using (var file = new FileStream(path + ".tmp", FileMode.Create))
        {
            var bytes = Encoding.UTF8.GetBytes(text);
            file.Write(bytes, 0, bytes.Length);
            file.Flush(true);
        }
        if (File.Exists(path)) File.Replace(path + ".tmp", path, null);
        else File.Move(path + ".tmp", path);
    }

    static string Read(string path) { return File.Exists(path) ? File.ReadAllText(path) : ""; }

    static string Setting(string name, string otherwise) { return Environment.GetEnvironmentVariable(name) ?? otherwise; }
}
