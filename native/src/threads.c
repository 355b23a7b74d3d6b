#include "threads.h"

#if defined(__wasm__) || defined(AEC_NO_THREADS)

void aec__run(int threads, int count, void (*job)(void *, int, int), void *context) {
    (void)threads;
    for (int number = 0; number < count; number++) job(context, number, 0);
}

#else

#include <pthread.h>
#include <stdatomic.h>

enum { MOST = 64 };

typedef struct crew {
    void (*job)(void *, int, int);
    void *context;
    atomic_int next;
    int count;
} crew;

typedef struct member {
    crew *crew;
    int worker;
} member;

static void *work(void *argument) {
    member *own = argument;
    crew *c = own->crew;
    for (int number; (number = atomic_fetch_add(&c->next, 1)) < c->count;) c->job(c->context, number, own->worker);
    return 0;
}

void aec__run(int threads, int count, void (*job)(void *, int, int), void *context) {
    crew c = {job, context, 0, count};
    member members[MOST];
    pthread_t ids[MOST];
    int started = 1;
    if (threads > count) threads = count;
    if (threads > MOST) threads = MOST;
    for (; started < threads; started++) {
        members[started] = (member){&c, started};
        if (pthread_create(&ids[started], 0, work, &members[started])) break; /* then those that there are do it all */
    }
    members[0] = (member){&c, 0};
    work(&members[0]);
    for (int i = 1; i < started; i++) pthread_join(ids[i], 0);
}

#endif
