// Node's fetch, not told about Content-Type or Accept: it sends text/plain and */*.
// Arguments: address, function key, software key, body. Prints status and body.
const [url, functionKey, softwareKey, body] = process.argv.slice(2);
const headers = { "X-Functions-Key": functionKey, "X-Software-Key": softwareKey };
const response = await fetch(url, { method: "POST", headers, body });
console.log(`${response.status} ${await response.text()}`);
