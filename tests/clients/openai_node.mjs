// The openai SDK of npm: `node openai_node.mjs URL KEY MODEL STEP...`, where its packages are (see test_clients.py).
import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [url, key, model, pictures, ...wanted] = process.argv.slice(2);
const number = `${pictures}/number.jpg`;
const things = `${pictures}/thumbnail.png`;
const read = "What number is written here? Reply with the digits only.";
const count = "Count the objects. Answer in JSON.";
const Count = z.object({ count: z.number().int().min(0).max(9) });

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key });

const dataUrl = (path) =>
  `data:image/${path.endsWith(".jpg") ? "jpeg" : "png"};base64,${readFileSync(path, "base64")}`;
const content = (image, text) => [
  { type: "image_url", image_url: { url: image } },
  { type: "text", text },
];
const ask = (parts, fields = {}) =>
  client.chat.completions.create({
    model, messages: [{ role: "user", content: parts }], temperature: 0, max_tokens: 96, ...fields,
  });
const asked = (image, text) => [
  { role: "user", content: [{ type: "input_image", detail: "auto", ...image }, { type: "input_text", text }] },
];

async function refusal(call) {
  try {
    await call();
  } catch (error) {
    return [error.constructor.name, error.status, error.code];
  }
}

const steps = {
  async sees() {
    const picture = { type: "image_url", image_url: { url: dataUrl(number) } };
    const question = { type: "text", text: "What number is written here? Reply with the digits only." };
    const messages = [{ role: "user", content: [picture, question] }];
    const answer = await client.chat.completions.create({ model, messages, temperature: 0 });
    return answer.choices[0].message.content;
  },

  async streams() {
    const pieces = [];
    let tokens;
    const fields = { stream: true, stream_options: { include_usage: true } };
    for await (const chunk of await ask(content(dataUrl(number), read), fields)) {
      if (chunk.choices[0]?.delta.content) pieces.push(chunk.choices[0].delta.content);
      tokens = chunk.usage?.completion_tokens;
    }
    return { text: pieces.join(""), pieces: pieces.length, tokens };
  },

  async remembers() {
    const question = "How many objects are there? Reply with one number.";
    const messages = [
      { role: "user", content: content(dataUrl(things), question) },
      { role: "assistant", content: "6" },
      { role: "user", content: question },
    ];
    const answer = await client.chat.completions.create({ model, messages, temperature: 0, max_tokens: 8 });
    return answer.choices[0].message.content;
  },

  async structures() {
    const messages = [{ role: "user", content: content(dataUrl(things), count) }];
    const response_format = zodResponseFormat(Count, "count");
    const fields = { model, messages, response_format, temperature: 0, max_tokens: 32 };
    return (await client.chat.completions.parse(fields)).choices[0].message.parsed;
  },

  async calls_tool() {
    const tool = zodFunction({ name: "report", parameters: Count });
    const tool_choice = { type: "function", function: { name: "report" } };
    const answer = await ask(content(dataUrl(things), count), { tools: [tool], tool_choice });
    const call = answer.choices[0].message.tool_calls[0].function;
    return { name: call.name, arguments: JSON.parse(call.arguments) };
  },

  async responds() {
    const fields = { model, input: asked({ image_url: dataUrl(number) }, read), temperature: 0 };
    return (await client.responses.create({ ...fields, max_output_tokens: 32 })).output_text;
  },

  async responds_in_pieces() {
    const pieces = [];
    const fields = { model, input: asked({ image_url: dataUrl(number) }, read), temperature: 0 };
    const stream = client.responses.stream({ ...fields, max_output_tokens: 32 });
    for await (const event of stream) {
      if (event.type === "response.output_text.delta") pieces.push(event.delta);
    }
    return { text: pieces.join(""), pieces: pieces.length, final: (await stream.finalResponse()).output_text };
  },

  async keeps_files() {
    const digest = (data) => createHash("sha256").update(data).digest("hex");
    const file = await client.files.create({ file: createReadStream(number), purpose: "vision" });
    const listed = [];
    for await (const each of client.files.list({ purpose: "vision" })) listed.push(each.id);
    const kept = Buffer.from(await (await client.files.content(file.id)).arrayBuffer());
    const part = { type: "file", file: { file_id: file.id } };
    const told = {
      file: await client.files.retrieve(file.id),
      listed: listed.includes(file.id),
      content: digest(kept) === digest(readFileSync(number)),
      as_url: (await ask(content(file.id, read))).choices[0].message.content,
      as_file: (await ask([part, { type: "text", text: read }])).choices[0].message.content,
      as_input_image: (await client.responses.create({ model, input: asked({ file_id: file.id }, read), temperature: 0 }))
        .output_text,
      deleted: (await client.files.delete(file.id)).deleted,
    };
    return { ...told, afterwards: await refusal(() => client.files.retrieve(file.id)) };
  },

  async lists_models() {
    const found = [];
    for await (const each of client.models.list()) found.push(each.id);
    return found;
  },

  async is_refused() {
    const stranger = client.withOptions({ apiKey: "sk-unknown" });
    const messages = [{ role: "user", content: "hi" }];
    return {
      picture: await refusal(() => ask(content("data:image/png;base64,iVBORw0KGgo=", read))),
      key: await refusal(() => stranger.models.list()),
      model: await refusal(() => client.chat.completions.create({ model: "gpt-none", messages })),
      file: await refusal(() => ask(content("file-00000000000000000000000000000000", read))),
    };
  },

  async waits_and_tries_again() {
    return (await ask([{ type: "text", text: "hi" }])).choices[0].message.content;
  },
};

const told = {};
for (const name of wanted) {
  try {
    told[name] = await steps[name]();
  } catch (error) {
    told[name] = { raised: String(error.stack) };
  }
}
console.log(JSON.stringify(told));
