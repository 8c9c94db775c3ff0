// As much of PostgreSQL's protocol as the example needs: a password, simple queries, rows of text.

const bytes = (text) => new TextEncoder().encode(text + "\0");
const text = (bytes) => new TextDecoder().decode(bytes);

/** A message: its type (none for the first one), its length, its content. */
function message(type, content) {
  const head = new Uint8Array(type.length + 4);
  head.set(new TextEncoder().encode(type));
  new DataView(head.buffer).setInt32(type.length, content.length + 4);
  return new Uint8Array([...head, ...content]);
}

/** The columns of a row. */
function row(content) {
  const view = new DataView(content.buffer);
  const columns = [];
  for (let at = 2; columns.length < view.getInt16(0);) {
    const size = view.getInt32(at);
    columns.push(size < 0 ? null : text(content.slice(at + 4, at + 4 + size)));
    at += 4 + Math.max(size, 0);
  }
  return columns;
}

export class Connection {
  /** Connects to the service `postgres` as its superuser. */
  static async open() {
    const connection = new Connection();
    connection.socket = await Deno.connect({ hostname: "postgres", port: 5432 });
    const password = (await Deno.readTextFile("C:\\run\\secrets\\db-password")).trim();
    await connection.send("", new Uint8Array([0, 3, 0, 0, ...bytes("user"), ...bytes("postgres"), 0]));
    await connection.receive();
    await connection.send("p", bytes(password));
    await connection.rows();
    return connection;
  }

  /** Runs a query; a value goes in with quote(). */
  async query(sql) {
    await this.send("Q", bytes(sql));
    return await this.rows();
  }

  async send(type, content) {
    for (let rest = message(type, content); rest.length;) {
      rest = rest.subarray(await this.socket.write(rest));
    }
  }

  async take(count) {
    const taken = new Uint8Array(count);
    for (let at = 0; at < count;) {
      const got = await this.socket.read(taken.subarray(at));
      if (got === null) throw new Error("PostgreSQL closed the connection");
      at += got;
    }
    return taken;
  }

  async receive() {
    const head = await this.take(5);
    const content = await this.take(new DataView(head.buffer).getInt32(1) - 4);
    if (head[0] === "E".charCodeAt(0)) throw new Error(text(content).replaceAll("\0", " "));
    return { type: String.fromCharCode(head[0]), content };
  }

  /** Everything up to ReadyForQuery. */
  async rows() {
    const rows = [];
    for (;;) {
      const { type, content } = await this.receive();
      if (type === "D") rows.push(row(content));
      if (type === "Z") return rows;
    }
  }
}

/** A value for a query. */
export const quote = (value) => `'${value.replaceAll("'", "''")}'`;
