// A small client of the gateway for Node 20 and newer, without packages. Its tests are beside it.
import { randomUUID } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";

const ATTEMPTS = 4;

export class RefusedError extends Error {
  constructor(status, reason) {
    super(`${status}: ${reason}`);
    this.status = status;
  }
}

export class PayrollClient {
  // `environ` has the variables of `dev.py run --env`.
  constructor(environ = process.env) {
    this.url = environ.GATEWAY_URL;
    this.keys = {
      "X-Functions-Key": environ.GATEWAY_FUNCTIONS_KEY,
      "X-Software-Key": environ.GATEWAY_SOFTWARE_KEY,
    };
  }

  // The result of each row.
  async importWorkers(rows) {
    let response = await this.send("POST", "/api/import/workers?version=1", rows);
    if (response.status === 202) {
      const location = response.headers.get("location");
      let status;
      do {
        await pause(100);
        status = await (await this.send("GET", location)).json();
      } while (!status.endedAt);
      response = await this.send("GET", status.links.answer);
    }
    return (await response.json()).results;
  }

  // One call, repeated under one key where no answer comes or the gateway is busy.
  async send(method, path, body) {
    const headers = { ...this.keys, "Content-Type": "application/json" };
    if (method === "POST") {
      headers["Idempotency-Key"] = randomUUID();
    }
    for (let attempt = 1; ; attempt += 1) {
      const isLast = attempt === ATTEMPTS;
      let response;
      try {
        response = await fetch(new URL(path, this.url), {
          method,
          headers,
          body: body === undefined ? undefined : JSON.stringify(body),
        });
      } catch (error) {
        if (isLast) {
          throw error;
        }
        await pause(200);
        continue;
      }
      if (response.ok) {
        return response;
      }
      if (isLast || ![429, 503].includes(response.status)) {
        throw new RefusedError(response.status, (await response.json()).message);
      }
      await pause(1000 * Number(response.headers.get("retry-after") ?? 1));
    }
  }
}
