#ifndef AEC_THREADS_H
#define AEC_THREADS_H

/* Does jobs number 0 to count - 1, each once, by up to so many threads; `worker` (0 to threads - 1) tells which one it is,
 * so that each can have memory of its own. Returns when all are done. Without threads, jobs are done in order. */
void aec__run(int threads, int count, void (*job)(void *context, int number, int worker), void *context);

#endif
