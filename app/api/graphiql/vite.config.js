import { defineConfig } from "vite";

export default defineConfig({
  // Addresses relative to the file that names them; the gateway completes those in the pages when it serves them.
  base: "./",
  // Replaced by a fresh nonce in every response.
  html: { cspNonce: "{{nonce}}" },
  // GraphiQL makes the titles of its icons from the names of their functions.
  esbuild: { jsx: "automatic", keepNames: true },
  worker: { format: "es" },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    // Monaco is one chunk of about 3 MB, loaded after the page has drawn.
    chunkSizeWarningLimit: 4000,
    rollupOptions: {
      input: ["index.html", "insight.html"],
      onwarn(warning, warn) {
        // "use client" marks modules for React's server rendering, of which there is none here.
        if (warning.code !== "MODULE_LEVEL_DIRECTIVE") warn(warning);
      },
    },
  },
});
