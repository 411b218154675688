// What unmodified Node clients make of a running server, as one JSON object on standard output.
// Usage: node clients.mjs http://127.0.0.1:8000/v1 recording.wav

import { createReadStream, readFileSync } from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import { experimental_transcribe as transcribe } from "ai";
import OpenAI, { toFile } from "openai";

const [baseURL, path] = process.argv.slice(2);
const client = new OpenAI({ apiKey: "any", baseURL, maxRetries: 0 });
const audio = readFileSync(path);
const create = (more) => client.audio.transcriptions.create({ model: "whisper-1", ...more });

async function failure(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    const { status, code, param, type, requestID, message } = error;
    return { name: error.constructor.name, status, code, param, type, requestID, message };
  }
}

async function stream(model) {
  const events = [];
  for await (const event of await create({ model, file: createReadStream(path), stream: true })) events.push(event);
  return events;
}

const seen = {};
seen.chunked = (await create({ file: createReadStream(path) })).text;
seen.bytes = (await create({ file: await toFile(audio, "speech.mp3"), stream: false, temperature: 0 })).text;
seen.srt = await create({ file: createReadStream(path), response_format: "srt" });
seen.plain = await create({ file: createReadStream(path), response_format: "text" });
seen.verbose = await create({
  file: createReadStream(path),
  response_format: "verbose_json",
  timestamp_granularities: ["word", "segment"],
  language: "en",
});
seen.logprobs = (await create({ file: createReadStream(path), include: ["logprobs"] })).logprobs;
seen.vad = (await create({ file: createReadStream(path), chunking_strategy: { type: "server_vad" } })).text;
seen.events = await stream("gpt-4o-transcribe");
seen.whisperEvents = await stream("whisper-1");
seen.models = (await client.models.list()).data.map((model) => model.id);
seen.noModel = await failure(client.models.retrieve("org/name"));
seen.noAudio = await failure(create({ file: await toFile(Buffer.from("not audio"), "a.wav") }));
seen.noAddress = await failure(client.get("/nothing"));

const openai = createOpenAI({ apiKey: "any", baseURL });
async function vercel(name, options) {
  const { text, segments, language, durationInSeconds } = await transcribe({
    model: openai.transcription(name),
    audio,
    maxRetries: 0,
    ...(options && { providerOptions: { openai: options } }),
  });
  return { text, segments, language, durationInSeconds };
}
seen.vercel = await vercel("whisper-1");
seen.vercelSegments = await vercel("whisper-1", { language: "en" });
seen.vercelWords = await vercel("whisper-1", { language: "en", timestampGranularities: ["word"] });
seen.vercelJson = await vercel("gpt-4o-transcribe", { language: "en", prompt: "Hello." });

console.log(JSON.stringify(seen));
