// Tells how much room there is on drive C:, and with the name of a file writes to it until there is
// none left.
#include <windows.h>
#include <stdio.h>

static char chunk[1 << 20];

int main(int argc, char **argv)
{
    ULARGE_INTEGER available, total, unused;
    ULONGLONG written = 0;
    HANDLE file;
    DWORD count;

    if (!GetDiskFreeSpaceExA("C:\\", &available, &total, &unused)) return 3;
    printf("total %llu free %llu\n", total.QuadPart, available.QuadPart);
    if (argc < 2) return 0;
    file = CreateFileA(argv[1], GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
    if (file == INVALID_HANDLE_VALUE) return 4;
    while (WriteFile(file, chunk, sizeof(chunk), &count, NULL)) written += count;
    printf("written %llu error %lu\n", written, GetLastError());
    return 0;
}
