export interface Member {
  name: string;
  /** Bytes, and what they take in the archive. */
  size: number;
  stored: number;
  offset: number;
  method: number;
}

export interface Archive {
  members: Member[];
  read(member: Member): Promise<Uint8Array>;
}

/** A ZIP file by its URL, of which only the parts are fetched that are asked for, or as a Blob. Rejects with an AecError. */
export function openArchive(where: string | URL | Blob): Promise<Archive>;
