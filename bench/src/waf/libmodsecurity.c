/*
 * libmodsecurity behind a pipe, for `bench waf` and the differential test.
 *
 * Started as `libmodsecurity RULES`: loads the rule file, then answers frames on
 * stdin with frames on stdout until stdin ends. Numbers are little-endian, texts
 * are a u32 length and bytes. A frame is a u32 length and:
 *
 *   question   u32 repeat | text method | text target | text version ("1.1")
 *              | u32 n | n x (text name, text value) | text body
 *   answer     u64 cpu_ns | u32 intervened | u32 status | u32 n | n x text log line
 *
 * The first answer, to no question, says that the rules are loaded: `cpu_ns` is
 * what that took and its only text says who answers; or, where `status` is 1, its
 * text says what is wrong. The rest is measured from a transaction's creation to
 * its end: connection, phases 1 and 2 and the logging phase, `repeat` times, in
 * CPU time of this thread. Verdict and log lines are those of the last time.
 *
 * Source: the library's C interface, modsecurity/{modsecurity,rules_set,transaction}.h
 * of libmodsecurity-dev. The order of calls is what its connector for nginx does.
 */
#include <modsecurity/modsecurity.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A frame of this program's own parent: more is a mistake. */
#define LARGEST_FRAME (64u << 20)

typedef struct {
    unsigned char *bytes;
    size_t length, room;
} Buffer;

typedef struct {
    const unsigned char *bytes;
    uint32_t length;
} Text;

typedef struct {
    Text name, value;
} Header;

static Buffer logged;
static uint32_t log_lines;

static void die(const char *why) {
    fprintf(stderr, "libmodsecurity child: %s\n", why);
    exit(1);
}

static void push(Buffer *to, const void *bytes, size_t length) {
    if (to->length + length > to->room) {
        to->room = (to->length + length) * 2 + 4096;
        to->bytes = realloc(to->bytes, to->room);
        if (!to->bytes) die("out of memory");
    }
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

static void push_u32(Buffer *to, uint32_t value) { push(to, &value, sizeof value); }

static void push_text(Buffer *to, const char *text) {
    size_t length = strlen(text);
    push_u32(to, (uint32_t)length);
    push(to, text, length);
}

static uint64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* What the library would write to the server's error log. */
static void on_log(void *data, const void *message) {
    (void)data;
    if (!message) return;
    log_lines++;
    push_text(&logged, (const char *)message);
}

/* ---- frames ---- */

static const unsigned char *at, *end;

static uint32_t take_u32(void) {
    uint32_t value;
    if ((size_t)(end - at) < sizeof value) die("a frame is too short");
    memcpy(&value, at, sizeof value);
    at += sizeof value;
    return value;
}

static Text take_text(void) {
    Text text;
    text.length = take_u32();
    if ((size_t)(end - at) < text.length) die("a text runs past its frame");
    text.bytes = at;
    at += text.length;
    return text;
}

static char *zero_ended(Text text) {
    char *copy = malloc((size_t)text.length + 1);
    if (!copy) die("out of memory");
    memcpy(copy, text.bytes, text.length);
    copy[text.length] = 0;
    return copy;
}

static void answer(uint64_t took, uint32_t intervened, uint32_t status, uint32_t texts, const Buffer *body) {
    Buffer frame = {0};
    push_u32(&frame, (uint32_t)(20 + body->length));
    push(&frame, &took, sizeof took);
    push_u32(&frame, intervened);
    push_u32(&frame, status);
    push_u32(&frame, texts);
    push(&frame, body->bytes, body->length);
    if (fwrite(frame.bytes, 1, frame.length, stdout) != frame.length || fflush(stdout)) die("stdout is closed");
    free(frame.bytes);
}

/* ---- one request ---- */

static ModSecurity *library;
static RulesSet *rules;

/* Whether the library wants the request ended; its status then. */
static int stopped(Transaction *transaction, int *status) {
    ModSecurityIntervention asked = {200, 0, NULL, NULL, 0};
    int wants = msc_intervention(transaction, &asked) && asked.disruptive;
    /* The rule that refuses is told here and not to the callback. */
    if (wants && asked.log) on_log(NULL, asked.log);
    free(asked.url);
    free(asked.log);
    if (!wants) return 0;
    *status = asked.status;
    return 1;
}

static int inspect(Transaction *transaction, const char *method, const char *target, const char *version,
                   const Header *headers, uint32_t count, Text body, int *status) {
    msc_process_connection(transaction, "203.0.113.7", 40000, "127.0.0.1", 80);
    msc_process_uri(transaction, target, method, version);
    if (stopped(transaction, status)) return 1;
    for (uint32_t i = 0; i < count; i++)
        msc_add_n_request_header(transaction, headers[i].name.bytes, headers[i].name.length,
                                 headers[i].value.bytes, headers[i].value.length);
    msc_process_request_headers(transaction);
    if (stopped(transaction, status)) return 1;
    if (body.length) {
        msc_append_request_body(transaction, body.bytes, body.length);
        if (stopped(transaction, status)) return 1;
    }
    msc_process_request_body(transaction);
    return stopped(transaction, status);
}

static void serve(const unsigned char *frame, size_t length) {
    at = frame;
    end = frame + length;
    uint32_t repeat = take_u32();
    Text method_text = take_text(), target_text = take_text(), version_text = take_text();
    uint32_t count = take_u32();
    if (count > LARGEST_FRAME / 8) die("too many headers");
    Header *headers = malloc(sizeof *headers * (count + 1));
    if (!headers) die("out of memory");
    for (uint32_t i = 0; i < count; i++) {
        headers[i].name = take_text();
        headers[i].value = take_text();
    }
    Text body = take_text();
    char *method = zero_ended(method_text), *target = zero_ended(target_text), *version = zero_ended(version_text);

    int intervened = 0, status = 200;
    uint64_t before = cpu_ns();
    for (uint32_t i = 0; i < repeat; i++) {
        logged.length = 0;
        log_lines = 0;
        status = 200;
        Transaction *transaction = msc_new_transaction(library, rules, NULL);
        intervened = inspect(transaction, method, target, version, headers, count, body, &status);
        if (intervened) msc_update_status_code(transaction, status);
        msc_process_logging(transaction);
        msc_transaction_cleanup(transaction);
    }
    uint64_t took = cpu_ns() - before;
    answer(took, (uint32_t)intervened, (uint32_t)status, log_lines, &logged);
    free(method);
    free(target);
    free(version);
    free(headers);
}

int main(int argc, char **argv) {
    if (argc != 2) die("usage: libmodsecurity RULES");
    uint64_t before = cpu_ns();
    library = msc_init();
    msc_set_connector_info(library, "bastide-bench");
    msc_set_log_cb(library, on_log);
    rules = msc_create_rules_set();
    const char *why = NULL;
    int loaded = msc_rules_add_file(rules, argv[1], &why);
    Buffer said = {0};
    push_text(&said, loaded < 0 ? (why ? why : "the rules do not load") : msc_who_am_i(library));
    answer(cpu_ns() - before, 0, loaded < 0, 1, &said);
    if (loaded < 0) return 1;

    Buffer frame = {0};
    for (;;) {
        uint32_t length;
        if (fread(&length, 1, sizeof length, stdin) != sizeof length) return 0;
        if (length > LARGEST_FRAME) die("a frame is too long");
        if (length > frame.room) {
            frame.bytes = realloc(frame.bytes, length);
            frame.room = length;
            if (!frame.bytes) die("out of memory");
        }
        if (fread(frame.bytes, 1, length, stdin) != length) die("stdin ended within a frame");
        serve(frame.bytes, length);
    }
}
