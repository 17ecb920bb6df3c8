// Optimized code, exceptions, WebAssembly, a worker, a child process and HTTP; status 6.
const { Worker, isMainThread, parentPort } = require('worker_threads');
if (!isMainThread) {
  parentPort.on('message', n => {
    let s = 0;
    for (let i = 0; i < n; i++) s += i % 3;
    parentPort.postMessage(s);
    parentPort.close();
  });
  return;
}
const zlib = require('zlib'), crypto = require('crypto'), http = require('http');
class Point { constructor(x) { this.x = x; } get square() { return this.x * this.x; } }
let total = 0;
for (let k = 0; k < 2000000; k++) total += new Point(k % 100).square;
const fib = n => n < 2 ? n : fib(n - 1) + fib(n - 2);
console.log(total, fib(25), 2n ** 200n, 'aXbX'.replace(/x/gi, m => m.charCodeAt(0)));
try { null.x } catch (e) { console.log(e.message) }
try { (function deep() { return deep() + 1 })() } catch (e) { console.log(e.name) }
const map = new Map();
for (let i = 0; i < 200000; i++) map.set('k' + i, [i]);
console.log(map.size, JSON.stringify([...map].slice(-1)), eval('[1,2,3].map(x => x ** 3)'));
const packed = zlib.gzipSync('x'.repeat(1e5));
console.log(crypto.createHash('sha256').update(zlib.gunzipSync(packed)).digest('hex'));
console.log(require('child_process').execSync('echo child').toString());
const wasm = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0,
  7, 7, 1, 3, 97, 100, 100, 0, 0, 10, 9, 1, 7, 0, 32, 0, 32, 1, 106, 11]);
console.log(new WebAssembly.Instance(new WebAssembly.Module(wasm)).exports.add(40, 2));
const worker = new Worker(__filename);
worker.on('message', s => {
  console.log('worker', s);
  const server = http.createServer((request, response) => response.end('hi ' + request.url));
  server.listen(0, '127.0.0.1', () => {
    http.get({ port: server.address().port, host: '127.0.0.1', path: '/p' }, response => {
      response.on('data', d => console.log('' + d)).on('end', () => {
        server.close();
        server.closeAllConnections();
        process.exitCode = 6;
      });
    });
  });
});
worker.postMessage(1000000);
