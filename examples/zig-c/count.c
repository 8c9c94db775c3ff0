/* Counts the lines and bytes of its standard input. It has no C runtime, only Windows: 3 kB are enough. */
#include <windows.h>

/* Writes the digits of number before end and returns where they start. */
static char *digits(char *end, unsigned long long number) {
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    return end;
}

static void say(HANDLE out, const char *text, DWORD length) {
    DWORD written;
    WriteFile(out, text, length, &written, NULL);
}

static void say_number(HANDLE out, unsigned long long number) {
    char text[20], *end = text + sizeof text, *start = digits(end, number);
    say(out, start, (DWORD)(end - start));
}

void start(void) {
    static char buffer[65536];
    HANDLE in = GetStdHandle(STD_INPUT_HANDLE), out = GetStdHandle(STD_OUTPUT_HANDLE);
    unsigned long long lines = 0, bytes = 0;
    DWORD count;
    while (ReadFile(in, buffer, sizeof buffer, &count, NULL) && count) {
        for (DWORD at = 0; at < count; at++) lines += buffer[at] == '\n';
        bytes += count;
    }
    say_number(out, lines);
    say(out, " lines, ", 8);
    say_number(out, bytes);
    say(out, " bytes\r\n", 8);
    /* Nothing to count is told by the exit code, for scripts. */
    ExitProcess(bytes ? 0 : 1);
}
