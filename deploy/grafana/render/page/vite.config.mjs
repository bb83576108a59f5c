// What is built is served from loopback and looked at by one browser: its size is nobody's concern.
export default {
  base: "./",
  oxc: { jsx: { runtime: "automatic" } },
  build: { chunkSizeWarningLimit: 20_000, minify: false, modulePreload: false, reportCompressedSize: false },
  define: { "process.env.NODE_ENV": '"production"' },
  logLevel: "error",
};
