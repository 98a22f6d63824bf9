// Calls one method of the vendor's JavaScript client and prints how it ended, as a line of JSON.
// Arguments: base URL, key, method, arguments as JSON.
const { Client } = require("wavespeed");

const [baseUrl, key, method, args] = process.argv.slice(2);
const client = new Client(key, { baseUrl, retryInterval: 0.01 });

client[method](...JSON.parse(args)).then(
  (value) => console.log(JSON.stringify({ value })),
  (error) => console.log(JSON.stringify({ error: error.name, message: error.message })),
);
