/** Bytes of an .aec file. */
export type Source = ArrayBuffer | ArrayBufferView | Blob | Response;

export type ErrorCode = "format" | "model" | "limit" | "memory" | "argument" | "family" | "network";

export class AecError extends Error {
  readonly code: ErrorCode;
}

export interface Region {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Progress {
  /** Name of the model whose weights are being fetched. */
  model: string;
  /** Bytes. */
  done: number;
  total: number;
}

export interface InspectOptions {
  /** Take of a damaged file what is intact. Damaged tiles become grey. */
  salvage?: boolean;
  /** Larger pictures are refused; pixels. Default: 178956970. */
  pixelLimit?: number;
}

export interface DecodeOptions extends InspectOptions {
  /** Only this part, in stored pixels. */
  region?: Region;
  signal?: AbortSignal;
  /** While the weights are fetched, the first time. */
  onProgress?: (progress: Progress) => void;
}

export interface SampleOptions extends DecodeOptions {
  /** 0: as the file has; 1 or 3: without alpha; 4: RGBA. */
  channels?: 0 | 1 | 3 | 4;
  /** 0: as the file has; 8: 8 bits. */
  depth?: 0 | 8;
}

export interface Samples {
  width: number;
  height: number;
  /** 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA; interleaved. */
  channels: number;
  /** Uint16Array of 0..2^depth - 1 if there are more than 8 bits. */
  data: Uint8Array | Uint16Array;
}

export interface Information {
  width: number;
  height: number;
  channels: number;
  /** 1 to 100. */
  quality: number;
  /** Bits of a sample, 8 to 16. */
  depth: number;
  /** Side of the tiles in pixels, 0 if there is only one. */
  tile: number;
  tiles: number;
  /** Id of the model, 8 hexadecimal digits. */
  model: string;
  /** Data of chunks by type: "exif", "iccp", "xmpd", ... */
  chunks: Record<string, Uint8Array>;
  /** What is damaged, in words; only with `salvage`. */
  damages: string[];
}

export interface DecoderOptions {
  /** Folder of the weights. Default: "models/" beside the module. */
  models?: string | URL;
  /** Threads; 0: the calling one. Default: as many as there are processors, at most 4. */
  workers?: number;
}

/** Decodes pictures by workers of its own, which live until `close()`. All methods reject with an AecError. */
export class Decoder {
  constructor(options?: DecoderOptions);
  inspect(source: Source, options?: InspectOptions): Promise<Information>;
  decode(source: Source, options?: DecodeOptions): Promise<ImageData>;
  samples(source: Source, options?: SampleOptions): Promise<Samples>;
  close(): void;
}

/** The picture as 8-bit RGBA, by a decoder that all callers share. Rejects with an AecError. */
export function decode(source: Source, options?: DecodeOptions): Promise<ImageData>;

/** What a file says of itself; verifies every checksum, needs no model. Rejects with an AecError. */
export function inspect(source: Source, options?: InspectOptions): Promise<Information>;
