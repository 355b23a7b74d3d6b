import type { Samples } from "./index.js";

/** A PNG with all bits of the samples, and with the metadata that a PNG can hold. */
export function encodePng(samples: Samples, information?: { depth?: number; chunks?: Record<string, Uint8Array> }): Promise<Blob>;
