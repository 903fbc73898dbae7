/*
 * libinjection's verdicts, from the library that libmodsecurity carries within it:
 * reads values (length in four bytes, lowest first; then the bytes), answers each with ten
 * bytes: 1 for scripting, 1 for SQL, and the fingerprint with zeros behind it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int libinjection_sqli(const char *input, size_t length, char fingerprint[]);
int libinjection_xss(const char *input, size_t length);

int main(void) {
    unsigned char head[4];
    while (fread(head, 1, 4, stdin) == 4) {
        size_t length = head[0] | head[1] << 8 | head[2] << 16 | (size_t)head[3] << 24;
        char *value = malloc(length + 8);
        if (value == NULL || fread(value, 1, length, stdin) != length) {
            return 1;
        }
        memset(value + length, 0, 8);
        char answer[16] = {0};
        answer[0] = (char)(libinjection_xss(value, length) != 0);
        answer[1] = (char)(libinjection_sqli(value, length, answer + 2) != 0);
        fwrite(answer, 1, 10, stdout);
        free(value);
    }
    return fflush(stdout) != 0;
}
