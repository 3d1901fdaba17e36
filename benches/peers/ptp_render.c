/* Stand-in for PTP's renderer (C++ on FreeType): as there, every page initialises the library, opens the font and draws each
 * glyph each time that it occurs. One page is 16 x 8176 pixels; the text is that of `examples/screenshot_evidence.rs`.
 *   cc -O2 benches/peers/ptp_render.c $(pkg-config --cflags --libs freetype2) -o ptp_render && ./ptp_render FONT.ttf
 */
#include <ft2build.h>
#include FT_FREETYPE_H
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { HEIGHT = 16, WIDTH = 8176, CHARACTERS = 1150 };

static int page(const char *font, const char *text, unsigned char *ink) {
    FT_Library library;
    FT_Face face;
    if (FT_Init_FreeType(&library) || FT_New_Face(library, font, 0, &face)) return 1;
    FT_Set_Char_Size(face, 0, 10 * 64, 100, 0);
    memset(ink, 0, HEIGHT * WIDTH);
    int pen = 0;
    for (const char *c = text; *c && pen < WIDTH; c++) {
        if (FT_Load_Char(face, *c, FT_LOAD_RENDER)) return 1;
        const FT_GlyphSlot glyph = face->glyph;
        const int top = 12 - glyph->bitmap_top, left = pen + glyph->bitmap_left;
        for (int row = 0; row < (int)glyph->bitmap.rows; row++)
            for (int column = 0; column < (int)glyph->bitmap.width; column++) {
                const int x = left + column, y = top + row;
                if (x >= 0 && x < WIDTH && y >= 0 && y < HEIGHT)
                    ink[y * WIDTH + x] = glyph->bitmap.buffer[row * glyph->bitmap.pitch + column];
            }
        pen += glyph->advance.x >> 6;
    }
    FT_Done_Face(face);
    FT_Done_FreeType(library);
    return 0;
}

int main(int count, char **arguments) {
    static char text[CHARACTERS + 1];
    static unsigned char ink[HEIGHT * WIDTH];
    const char *words = "arming bedding cupping dogging egging figging gassing hutting inking jamming keying lipping ";
    for (int k = 0; k < CHARACTERS; k++) text[k] = words[k % strlen(words)];
    if (count != 2) return fprintf(stderr, "expected a font file\n"), 2;
    struct timespec start, now;
    clock_gettime(CLOCK_MONOTONIC, &start);
    double seconds = 0;
    int pages = 0;
    while (seconds < 2) {
        if (page(arguments[1], text, ink)) return fprintf(stderr, "%s: expected a font\n", arguments[1]), 1;
        pages++;
        clock_gettime(CLOCK_MONOTONIC, &now);
        seconds = (now.tv_sec - start.tv_sec) + 1e-9 * (now.tv_nsec - start.tv_nsec);
    }
    printf("{\"pages_per_s\": %.1f}\n", pages / seconds);
    return 0;
}
